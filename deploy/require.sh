#!/usr/bin/env bash
# Says in one line each what a machine lacks and how to get it. Sourced by `run` and `test`.
set -euo pipefail

RUST_MIN=1.95.0
lacking=0

# lacks WHAT HOW: notes one missing thing.
lacks() {
    printf 'missing: %s. Get it: %s\n' "$1" "$2" >&2
    lacking=1
}

# wants COMMAND WHAT HOW: notes WHAT if COMMAND is not there.
wants() {
    command -v "$1" >/dev/null 2>&1 || lacks "$2 ($1)" "$3"
}

# What building and running takes. Call it in the repository's folder, where rustup finds the pinned toolchain.
wants_to_run() {
    if ! command -v cargo >/dev/null 2>&1; then
        lacks "Rust (cargo)" "curl --proto '=https' -sSf https://sh.rustup.rs | sh"
    else
        local have
        have=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || true
        if [ -z "$have" ]; then
            lacks "the Rust toolchain of rust-toolchain.toml" "rustup toolchain install"
        elif [ "$(printf '%s\n%s\n' "$RUST_MIN" "$have" | sort -V | head -n 1)" != "$RUST_MIN" ]; then
            lacks "Rust $RUST_MIN (here: $have)" "rustup update"
        fi
    fi
    # librdkafka is built from the sources that its crate brings; zlib comes the same way.
    wants cc "a C compiler" "apt-get install gcc (Fedora: dnf install gcc)"
    wants c++ "a C++ compiler" "apt-get install g++ (Fedora: dnf install gcc-c++)"
    wants make "make" "apt-get install make (Fedora: dnf install make)"
    # The engine library is an npm package, checked against its integrity hash before it is unpacked.
    wants npm "npm" "apt-get install npm (Fedora: dnf install nodejs-npm)"
    wants openssl "openssl" "apt-get install openssl"
    wants tar "tar" "apt-get install tar"
}

# What the tests take beyond that: real Kafka and a real Python client.
wants_to_test() {
    wants_to_run
    wants java "a Java runtime, 17 or later" "apt-get install openjdk-17-jre-headless (Fedora: dnf install java-17-openjdk-headless)"
    wants mvn "Maven" "apt-get install maven (Fedora: dnf install maven)"
    wants python3 "Python 3" "apt-get install python3 python3-venv (Fedora: dnf install python3)"
    # Builds t.js and drives the browser that tests it; deploy/browser.sh installs Chromium.
    wants node "Node.js, 20 or later" "apt-get install nodejs"
    wants curl "curl" "apt-get install curl (Fedora: dnf install curl)"
}

# Ends the script if anything was missing.
all_there() {
    if [ "$lacking" -ne 0 ]; then
        exit 1
    fi
}
