"""Signs a request to Tributary. Run with a file of test vectors it prints one signature a line."""
import hashlib
import hmac
import json
import sys


def sign(secret, method, path, query, body, timestamp, nonce):
    pairs = [pair for pair in query.split("&") if pair and pair.split("=")[0] != "sig"]
    canonical = "\n".join([
        "v1", method, path, "&".join(sorted(pairs)), timestamp, nonce, hashlib.sha256(body.encode()).hexdigest(),
    ])
    return hmac.new(secret.encode(), canonical.encode(), hashlib.sha256).hexdigest()


if __name__ == "__main__":
    for v in json.load(open(sys.argv[1], encoding="utf-8"))["vectors"]:
        print(sign(v["secret"], v["method"], v["path"], v["query"], v["body"], v["timestamp"], v["nonce"]))
