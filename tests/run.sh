#!/usr/bin/env bash
# The one command that passes all tests: installs what they need, then alert rules, documentation tests and everything else.
# Arguments go to the test runner, for instance: tests/run.sh -E 'binary(house)'
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tests/setup.sh test
export PATH="$PWD/target/tools:$PATH"

promtool check rules deploy/alerts.yaml
promtool test rules deploy/alerts.test.yaml

cargo build --locked --workspace --bins
cargo test --locked --workspace --doc --quiet
if cargo nextest --version >/dev/null 2>&1; then
    exec cargo nextest run --locked --workspace --no-fail-fast "$@"
fi
exec cargo test --locked --workspace --no-fail-fast --lib --bins --tests "$@"
