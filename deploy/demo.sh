#!/usr/bin/env bash
# The one command that shows it: a gateway, three simulated regions, a steady load, and a region that fails and comes back.
# Arguments go to `tidegate demo`, for instance: deploy/demo.sh --duration 30s
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tests/setup.sh build
exec cargo run --release --locked --quiet -p tidegate -- demo "$@"
