#!/usr/bin/env bash
# nginx from Debian, as the measure of the edge's speed: an empty pixel and a redirect on loopback.
#
#   nginx.sh fetch                        installs the package if it is missing
#   nginx.sh start --port P --dir DIR     runs it in the foreground; everything that it writes is in DIR
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# Debian keeps it where only root's shell looks.
PATH="$PATH:/usr/sbin"

fail() {
  echo "nginx.sh: $*" >&2
  exit 1
}

fetch() {
  command -v nginx >/dev/null && return
  command -v apt-get >/dev/null || fail "nginx is missing: install it"
  # The package would start a server of its own on port 80.
  local blocker=/usr/sbin/policy-rc.d made=""
  if [[ ! -e "$blocker" ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$blocker"
    chmod +x "$blocker"
    made=1
  fi
  apt-get install -y --no-install-recommends nginx-light >&2 || { apt-get update >&2 &&
    apt-get install -y --no-install-recommends nginx-light >&2; } || true
  [[ -z "$made" ]] || rm -f "$blocker"
  command -v nginx >/dev/null || fail "the package nginx-light could not be installed"
}

start() {
  local port="" dir=""
  while (($# > 0)); do
    case "$1" in
      --port) port="${2:-}" ;;
      --dir) dir="${2:-}" ;;
      *) fail "unknown option $1" ;;
    esac
    (($# >= 2)) || fail "$1 needs a value"
    shift 2
  done
  [[ "$port" =~ ^[0-9]+$ ]] || fail "--port must be a number"
  [[ -n "$dir" ]] || fail "--dir is missing"
  [[ "$dir" != *['|&\\']* ]] || fail "--dir must not contain |, & or a backslash"
  fetch
  mkdir -p "$dir"
  dir="$(cd "$dir" && pwd)"
  sed -e "s|@PORT@|$port|g" -e "s|@DIR@|$dir|g" "$here/nginx.conf.template" >"$dir/nginx.conf"
  exec nginx -p "$dir" -c "$dir/nginx.conf" -e "$dir/error.log"
}

case "${1:-}" in
  fetch) fetch ;;
  start) shift && start "$@" ;;
  *) fail "usage: nginx.sh fetch | nginx.sh start --port P --dir DIR" ;;
esac
