#!/usr/bin/env bash
# Resolves the dependencies of pyproject.toml into the lock files, with hashes, for Python 3.10 to
# 3.13 and every platform. Packages keep their versions unless --upgrade or --upgrade-package NAME
# is given. Needs uv and the network.
#   bash scripts/lock.sh [flags of uv pip compile]
# Writes requirements-lock.txt      the package and what it needs, without Paddle
#        requirements-dev-lock.txt  the same with all extras and the tools of the tests
#        requirements-cpu.txt       Paddle's CPU build
# Not uv.lock: it names the address of one package index for every file, so that users behind a
# mirror could not install from it.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() { # file, flags...
    local file=$1
    shift
    uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate \
        --no-emit-index-url --no-header --output-file "$file" "$@"
}

compile requirements-lock.txt pyproject.toml --extra cpu --no-emit-package paddlepaddle "$@"
grep -v -- --hash= requirements-lock.txt | sed 's/ \\$//' >.lock-constraints
trap 'rm -f .lock-constraints' EXIT
compile requirements-dev-lock.txt pyproject.toml --extra cpu --extra all --group dev \
    --no-emit-package paddlepaddle --constraint .lock-constraints "$@"
grep -oE 'paddlepaddle==[0-9.]+' pyproject.toml | head -n 1 |
    compile requirements-cpu.txt --no-deps - "$@"
