#!/usr/bin/env bash
# Builds the release that is shipped and measured, target/tidegate: a first build watches itself serve the demo for a minute,
# and the second one lays what was busy there close together (profile-guided optimization, gateway/decisions/0019).
# It takes twice as long as `cargo build --release`, and answers to the same configuration in the same way.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tests/setup.sh build
rustup component list --installed | grep '^llvm-tools' >/dev/null || rustup component add llvm-tools
host=$(rustc -vV | sed -n 's/^host: //p')
merge=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
profiles=$PWD/target/watched/profiles
merged=$PWD/target/guided.profdata

# With `--target` the flags go to the program, not to the build scripts of its dependencies.
build() { # DIRECTORY FLAG
    RUSTFLAGS=$2 cargo build --release --locked -p tidegate --target "$host" --target-dir "$1"
}

echo "1 of 3: the build that watches itself" >&2
build target/watched "-Cprofile-generate=$profiles"
echo "2 of 3: a minute of the demo" >&2
rm -rf "$profiles"
"target/watched/$host/release/tidegate" demo --plain --duration 60s --rate 100 ||
    echo "the demo had errors, as on a machine that is very busy: what it has seen is used all the same" >&2
"$merge" merge --output "$merged" "$profiles"
echo "3 of 3: the release" >&2
# Cargo does not see that a profile has changed.
rm -rf target/guided
build target/guided "-Cprofile-use=$merged"
install -m 0755 "target/guided/$host/release/tidegate" target/tidegate
echo "done: target/tidegate" >&2
