// Signs a request to Tributary. Run with a file of test vectors it prints one signature a line.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
)

type Request struct{ Secret, Method, Path, Query, Body, Timestamp, Nonce string }

func Sign(r Request) string {
	var pairs []string
	for _, pair := range strings.Split(r.Query, "&") {
		if name, _, _ := strings.Cut(pair, "="); pair != "" && name != "sig" {
			pairs = append(pairs, pair)
		}
	}
	sort.Strings(pairs)
	body := sha256.Sum256([]byte(r.Body))
	canonical := []string{"v1", r.Method, r.Path, strings.Join(pairs, "&"), r.Timestamp, r.Nonce, hex.EncodeToString(body[:])}
	mac := hmac.New(sha256.New, []byte(r.Secret))
	mac.Write([]byte(strings.Join(canonical, "\n")))
	return hex.EncodeToString(mac.Sum(nil))
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	var file struct{ Vectors []Request }
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, vector := range file.Vectors {
		fmt.Println(Sign(vector))
	}
}
