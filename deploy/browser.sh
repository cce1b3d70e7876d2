#!/usr/bin/env bash
# Gets what builds and tests t.js: the pinned packages of ingest/script, and Debian's Chromium where there is none.
# Prints the browser's path. A second run does nothing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
script=$root/ingest/script

if ! cmp -s "$script/package-lock.json" "$script/node_modules/.installed-lock.json"; then
    # The builder's binary comes as a package of its own: nothing has to run at installation.
    (cd "$script" && npm ci --ignore-scripts --silent >&2)
    cp "$script/package-lock.json" "$script/node_modules/.installed-lock.json"
fi

if ! command -v chromium >/dev/null 2>&1; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "browser.sh: chromium is missing: install it (Debian and Ubuntu: apt-get install chromium)" >&2
        exit 1
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >&2
fi
command -v chromium
