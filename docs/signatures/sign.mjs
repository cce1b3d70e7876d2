// Signs a request to Tributary. Run with a file of test vectors it prints one signature a line.
import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

export function sign({ secret, method, path, query, body, timestamp, nonce }) {
  const pairs = query.split("&").filter((pair) => pair && pair.split("=")[0] !== "sig");
  const bodyHash = createHash("sha256").update(body, "utf8").digest("hex");
  const canonical = ["v1", method, path, pairs.sort().join("&"), timestamp, nonce, bodyHash].join("\n");
  return createHmac("sha256", secret).update(canonical, "utf8").digest("hex");
}

if (process.argv[2]) {
  for (const vector of JSON.parse(readFileSync(process.argv[2], "utf8")).vectors) {
    console.log(sign(vector));
  }
}
