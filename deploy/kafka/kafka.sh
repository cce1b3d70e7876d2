#!/usr/bin/env bash
# A local Apache Kafka: one KRaft node on loopback, for tests and for trying things by hand.
#
#   kafka.sh fetch                        gets the jars into .cache/kafka, once
#   kafka.sh start --port P --data DIR    runs the broker in the foreground; the data stays in DIR
set -euo pipefail

# Where the jars come from and where they go.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
version="$(sed -n '/<artifactId>kafka_2.13</,/<version>/s:.*<version>\(.*\)</version>.*:\1:p' "$here/pom.xml")"
cache="$root/.cache/kafka/$version"
heap="${KAFKA_HEAP:-512m}"

fail() {
  echo "kafka.sh: $*" >&2
  exit 1
}

need() {
  command -v "$1" >/dev/null || fail "$1 is missing: $2"
}

fetch() {
  [[ -d "$cache/lib" ]] && return
  need mvn "install Maven (https://maven.apache.org)"
  mkdir -p "$cache"
  # Two that fetch at once each fill a directory of their own; the first to finish wins.
  local fresh
  fresh="$(mktemp -d "$cache/fetch.XXXXXX")"
  if ! mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$fresh" >"$fresh.log" 2>&1; then
    tail -n 20 "$fresh.log" >&2
    rm -rf "$fresh" "$fresh.log"
    fail "Maven could not fetch Kafka $version"
  fi
  rm -f "$fresh.log"
  mv -T -n "$fresh" "$cache/lib" 2>/dev/null || true
  rm -rf "$fresh"
  [[ -d "$cache/lib" ]] || fail "could not write $cache/lib"
}

free_port() {
  local port
  for _ in {1..100}; do
    port=$((20000 + RANDOM % 12000))
    if [[ "$port" != "$1" ]] && ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  fail "found no free port for the controller"
}

# The controller's port is chosen anew at every start; a quorum of one, named in the properties, does not mind.
write_properties() {
  local port="$1" data="$2" controller
  controller="$(free_port "$port")"
  sed -e "s|@PORT@|$port|g" -e "s|@CONTROLLER_PORT@|$controller|g" -e "s|@DATA@|$data|g" \
    "$here/server.properties.template" >"$data/server.properties"
}

start() {
  local port="" data=""
  while (($# > 0)); do
    case "$1" in
      --port) port="${2:-}" ;;
      --data) data="${2:-}" ;;
      *) fail "unknown option $1" ;;
    esac
    (($# >= 2)) || fail "$1 needs a value"
    shift 2
  done
  [[ "$port" =~ ^[0-9]+$ ]] || fail "--port must be a number"
  [[ -n "$data" ]] || fail "--data is missing"
  [[ "$data" != *['|&\\']* ]] || fail "--data must not contain |, & or a backslash"
  need java "install a Java runtime, version 17 or later"
  fetch
  mkdir -p "$data"
  data="$(cd "$data" && pwd)"
  write_properties "$port" "$data"
  local log4j="$here/log4j2.yaml"
  local jvm=(java "-Xmx$heap" -XX:+UseSerialGC "-Dlog4j2.configurationFile=$log4j" -cp "$cache/lib/*")
  if [[ ! -f "$data/log/meta.properties" ]]; then
    # Kafka's own form of a UUID: 16 random bytes in the URL's base64. The leading letter keeps it from being an option.
    local id
    id="T$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)"
    "${jvm[@]}" -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format -t "$id" -c "$data/server.properties" >/dev/null
  fi
  exec "${jvm[@]}" kafka.Kafka "$data/server.properties"
}

case "${1:-}" in
  fetch) fetch ;;
  start) shift && start "$@" ;;
  *) fail "usage: kafka.sh fetch | kafka.sh start --port P --data DIR" ;;
esac
