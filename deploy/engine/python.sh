#!/usr/bin/env bash
# Makes .cache/python with the pinned clickhouse-connect, which the tests point at the embedded engine as a
# user's notebook would be, and prints its interpreter. A second run does nothing.
set -euo pipefail

fail() {
    echo "python.sh: $*" >&2
    exit 1
}

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
requirements="$here/python-requirements.txt"
directory="$root/.cache/python"
interpreter="$directory/bin/python3"

if [[ -x "$interpreter" ]] && cmp -s "$requirements" "$directory/requirements.installed"; then
    echo "$interpreter"
    exit 0
fi

command -v python3 >/dev/null || fail "python3 is missing: install it (Debian and Ubuntu: apt-get install python3 python3-venv)"
mkdir -p "$root/.cache"
exec 9>"$root/.cache/python.lock"
flock 9
if [[ ! -x "$interpreter" ]] || ! cmp -s "$requirements" "$directory/requirements.installed"; then
    rm -rf "$directory"
    python3 -m venv "$directory" >&2 ||
        fail "python3 has no venv: install it (Debian and Ubuntu: apt-get install python3-venv)"
    "$interpreter" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
        --requirement "$requirements" >&2 || fail "pip cannot install $requirements"
    cp "$requirements" "$directory/requirements.installed"
fi
echo "$interpreter"
