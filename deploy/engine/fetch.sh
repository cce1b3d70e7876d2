#!/usr/bin/env bash
# Fetches the embedded engine's library into .cache/engine/VERSION/libchdb.so and prints its path.
#
# The package and its sha512 are pinned here: a registry that serves other bytes is refused. The library is put
# in place by one rename, so a broken download leaves nothing behind, and a second run does nothing.
set -euo pipefail

PACKAGE='@chdb/lib-linux-x64-gnu'
VERSION='26.7.3-stable.1'
INTEGRITY='sha512-XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw=='

fail() {
    echo "fetch.sh: $*" >&2
    exit 1
}

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
directory="$root/.cache/engine/$VERSION"
library="$directory/libchdb.so"

if [[ -s "$library" ]]; then
    echo "$library"
    exit 0
fi

[[ "$(uname -s)-$(uname -m)" == Linux-x86_64 ]] ||
    fail "the engine library is built for Linux on x86_64, this is $(uname -s) on $(uname -m)"
for tool in npm openssl tar flock; do
    command -v "$tool" >/dev/null ||
        fail "$tool is missing: install it (Debian and Ubuntu: apt-get install npm openssl tar util-linux)"
done

mkdir -p "$directory"
# Tests that run side by side fetch it once.
exec 9>"$directory/fetch.lock"
flock 9
if [[ -s "$library" ]]; then
    echo "$library"
    exit 0
fi
work="$(mktemp -d "$directory/fetch.XXXXXX")"
trap 'rm -rf "$work"' EXIT

if ! tarball="$(cd "$work" && npm pack --silent "$PACKAGE@$VERSION" 2>npm.log)"; then
    fail "npm cannot fetch $PACKAGE@$VERSION: $(grep -m1 -E 'npm (ERR!|error)' "$work/npm.log" || echo 'see npm pack')"
fi
tarball="$work/$(tail -n1 <<<"$tarball")"

found="sha512-$(openssl dgst -sha512 -binary "$tarball" | openssl base64 -A)"
[[ "$found" == "$INTEGRITY" ]] || fail "$PACKAGE@$VERSION has the hash $found, but $INTEGRITY is expected"

tar -xzf "$tarball" -C "$work" package/libchdb.so || fail "the package holds no libchdb.so"
chmod 0644 "$work/package/libchdb.so"
mv "$work/package/libchdb.so" "$library"
echo "$library"
