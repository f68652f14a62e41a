#!/usr/bin/env bash
# Installs what a build, the tests or the benchmark need, and only what is missing. Safe to run again and again.
#   tests/setup.sh build    C compiler and cmake (zlib-ng, a dependency of Pingora)
#   tests/setup.sh test     build + curl, openssl, redis-server, promtool, pebble, slowhttptest, Python and Node with the official OpenAI SDKs   (default)
#   tests/setup.sh bench    test + nginx
# Everything that needs no root goes below target/: target/venv, target/node, target/tools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
purpose=${1:-test}
tools=target/tools
venv=target/venv
node=target/node

say() { printf '%s\n' "setup: $*" >&2; }

have() { command -v "$1" >/dev/null 2>&1; }

retry() { # five tries, 2 s to 16 s apart
    local pause=2
    until "$@"; do
        if [ "$pause" -gt 16 ]; then return 1; fi
        say "failed: $*; again in $pause s"
        sleep "$pause"
        pause=$((pause * 2))
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

refresh_packages() {
    if [ -z "${packages_fresh:-}" ]; then
        retry as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -qq update </dev/null >&2
        packages_fresh=yes
    fi
}

install_packages() { # Debian packages, all at once
    if [ $# = 0 ]; then return; fi
    if ! have apt-get || { [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; }; then
        say "please install (Debian names): $*"
        say "then run this again; with Debian or Ubuntu and root or sudo it installs them itself"
        exit 1
    fi
    say "installing $*"
    refresh_packages
    retry as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -qq -y \
        install --no-install-recommends "$@" </dev/null >&2
}

missing_packages() {
    local missing=()
    have cc || missing+=(gcc libc6-dev)
    have cmake || missing+=(cmake)
    have make || missing+=(make)
    if [ "$purpose" != build ]; then
        have git || missing+=(git)
        have curl || missing+=(curl ca-certificates)
        have openssl || missing+=(openssl)
        have redis-server || missing+=(redis-server)
        have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
        have node || missing+=(nodejs)
        have npm || missing+=(npm)
    fi
    if [ "$purpose" = bench ]; then
        have nginx || [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
    fi
    echo "${missing[@]-}"
}

# Programs of a Debian package without its services and without root: the package is unpacked, not installed.
provide_tools() { # package, programs
    local package=$1 program missing=()
    shift
    for program in "$@"; do
        have "$program" || [ -x "$tools/$program" ] || missing+=("$program")
    done
    if [ ${#missing[@]} = 0 ]; then return; fi
    if ! have apt-get || ! have dpkg-deb; then
        say "please install ${missing[*]} (Debian's package $package), then run this again"
        exit 1
    fi
    say "unpacking ${missing[*]} from the package $package"
    local unpacked
    unpacked=$(mktemp -d)
    if ! (cd "$unpacked" && apt-get -o APT::Sandbox::User=root -qq download "$package" </dev/null >&2); then
        if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then refresh_packages; fi
        (cd "$unpacked" && retry apt-get -o Acquire::Retries=3 -o APT::Sandbox::User=root -qq download "$package" </dev/null >&2)
    fi
    dpkg-deb -x "$unpacked/$package"_*.deb "$unpacked"
    mkdir -p "$tools"
    for program in "${missing[@]}"; do install -m 0755 "$unpacked/usr/bin/$program" "$tools/$program"; done
    rm -rf "$unpacked"
}

# The pinned SDK of tests/requirements.txt; made anew when the pins change.
provide_venv() {
    if [ -x "$venv/bin/python" ] && cmp -s tests/requirements.txt "$venv/requirements.txt"; then return; fi
    say "making $venv with $(grep -v '^#' tests/requirements.txt | tr '\n' ' ')"
    rm -rf "$venv"
    python3 -m venv "$venv"
    retry "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --retries 10 \
        -r tests/requirements.txt </dev/null >&2
    cp tests/requirements.txt "$venv/requirements.txt"
}

# The pinned SDK of tests/sdk/package.json, and the sockets that its realtime part uses.
provide_node() {
    if [ -d "$node/node_modules/openai" ] && [ -d "$node/node_modules/ws" ] && cmp -s tests/sdk/package.json "$node/package.json"; then return; fi
    say "making $node with $(cat tests/sdk/package.json)"
    rm -rf "$node"
    mkdir -p "$node"
    cp tests/sdk/package.json "$node/package.json"
    retry npm install --prefix "$node" --no-audit --no-fund --no-package-lock --loglevel=error </dev/null >&2
}

case $purpose in
build | test | bench) ;;
*)
    say "unknown purpose $purpose: build, test or bench"
    exit 2
    ;;
esac
if ! have cargo; then
    say "please install Rust (https://rustup.rs), then run this again"
    exit 1
fi
read -r -a missing <<<"$(missing_packages)"
install_packages "${missing[@]}"
if [ "$purpose" != build ]; then
    provide_tools prometheus promtool
    provide_tools pebble pebble pebble-challtestsrv
    provide_tools slowhttptest slowhttptest
    provide_venv
    provide_node
fi
