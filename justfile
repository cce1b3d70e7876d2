# The whole vocabulary. `just` alone lists it.

_list:
    @just --list --unsorted

# Everything in one process: just run --data /tmp/data
run *args:
    ./run {{args}}

# All checks and all tests, as CI runs them
test:
    ./test

# The tests whose name contains NAME: just only click
only name:
    cargo test --workspace --locked {{name}}

# Histories of processor and sink in simulation, each from a seed: just sim (a night), just sim 1000, SIM_SEED=7 just sim
sim seeds="100000":
    SIM_SEEDS={{seeds}} cargo test -p processor --locked --test sim

# Processor and sink end themselves at each named point so often, on both engine sets: just kill-night, just kill-night 200
kill-night kills="50":
    KILLS={{kills}} cargo test -p tests --locked --test it failpoints

# Whether it compiles, fast
check:
    cargo check --workspace --all-targets --locked

# Formats the code
fmt:
    cargo fmt --all

# The linter, as strict as CI
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Lengths, names, dependency direction and the other rules of the house
tidy:
    cargo test -p tests --locked --test it tidy

# Licences, sources and versions of the dependencies
deny:
    cargo deny --offline check bans licenses sources

# Known security holes in the dependencies (needs the network)
advisories:
    cargo deny check advisories

# Fetches the engine library
engine:
    deploy/engine/fetch.sh

# Builds ingest/script/t.js from t.ts
script:
    deploy/browser.sh
    cd ingest/script && npm run check && npm run build

# A real Kafka on this machine, until Ctrl-C: just kafka start --port 9092 --data /tmp/kafka
kafka *args:
    deploy/kafka/kafka.sh {{args}}

# Brings the lists by which browsers and bots are told up to date (needs the network)
agents:
    ingest/src/agent/data/update.sh

# Every setting with its default
config:
    cargo run --locked --bin tributary -- config

# Sends a log as traffic: just replay access.log --target http://127.0.0.1:8080 --link anna --ledger /tmp/ledger
replay *args:
    cargo run --release --locked --bin loadtest -- replay {{args}}

# Clicks at a constant rate: just bench --target http://127.0.0.1:8080 --link anna --rate 30000 --duration 30
bench *args:
    cargo run --release --locked --bin loadtest -- clicks {{args}}

# The edge beside nginx, as ratios in one run: just bench-edge --only click,latency --agents access.log
bench-edge *args:
    cargo build --release --locked --bin tributary --bin loadtest
    "${CARGO_TARGET_DIR:-target}"/release/loadtest bench edge {{args}}

# The processor's core alone, in memory, on one core
bench-core:
    cargo bench --locked -p processor --bench core

# A partition's owner from log to facts: just bench-owner, KAFKA=127.0.0.1:9092 just bench-owner
bench-owner:
    cargo bench --locked -p processor --bench owner

# A state with ten million clicks is opened again
bench-restart:
    cargo bench --locked -p processor --bench restart

# The sink beside the engine's own INSERT … SELECT FROM file, with the same rows
bench-sink:
    cargo bench --locked -p processor --bench sink

# Clicks while something goes wrong, for a while: just outage edge-killed --duration 60, just outage log-paused
outage *args:
    cargo build --release --locked --bin tributary --bin loadtest
    "${CARGO_TARGET_DIR:-target}"/release/loadtest outage {{args}}

# Compares what was acknowledged with what the API reports
audit *args:
    cargo run --release --locked --bin loadtest -- audit {{args}}

# The code's own documentation
docs:
    cargo doc --workspace --no-deps --locked --open
