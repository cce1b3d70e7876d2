// Signs a request to Tributary. Run with a file of test vectors it prints one signature a line.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

func sign(r map[string]string) string {
	pairs := slices.DeleteFunc(strings.Split(r["query"], "&"), func(pair string) bool {
		return pair == "" || strings.Split(pair, "=")[0] == "sig"
	})
	slices.Sort(pairs)
	bodyHash := fmt.Sprintf("%x", sha256.Sum256([]byte(r["body"])))
	canonical := []string{"v1", r["method"], r["path"], strings.Join(pairs, "&"), r["timestamp"], r["nonce"], bodyHash}
	mac := hmac.New(sha256.New, []byte(r["secret"]))
	mac.Write([]byte(strings.Join(canonical, "\n")))
	return fmt.Sprintf("%x", mac.Sum(nil))
}

func main() {
	var file struct{ Vectors []map[string]string }
	text, err := os.ReadFile(os.Args[1])
	if err = errors.Join(err, json.Unmarshal(text, &file)); err != nil {
		panic(err)
	}
	for _, vector := range file.Vectors {
		fmt.Println(sign(vector))
	}
}
