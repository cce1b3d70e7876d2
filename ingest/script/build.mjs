// Builds t.js from t.ts: checked, minified, without a dependency. `node build.mjs --check` only says whether t.js is what
// t.ts gives, and whether it is small enough.
import { readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { buildSync } from "esbuild";

/** What a page may be asked to load, in bytes, gzipped. */
const MAX_GZIPPED = 2048;

const here = (name) => new URL(name, import.meta.url);
const { outputFiles } = buildSync({
  entryPoints: [here("t.ts").pathname],
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2018",
  charset: "ascii",
  legalComments: "none",
  write: false,
});
const built = outputFiles[0].contents;
const gzipped = gzipSync(built, { level: 9 }).length;
if (gzipped > MAX_GZIPPED) {
  console.error(`t.js has ${gzipped} bytes gzipped, more than ${MAX_GZIPPED}`);
  process.exit(1);
}
if (process.argv.includes("--check")) {
  if (!readFileSync(here("t.js")).equals(Buffer.from(built))) {
    console.error("t.js is not what t.ts gives: run `just script`");
    process.exit(1);
  }
} else {
  writeFileSync(here("t.js"), built);
}
console.log(`t.js: ${built.length} bytes, ${gzipped} gzipped`);
