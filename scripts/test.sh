#!/usr/bin/env bash
# Checks the code: ruff, mypy, import-linter, then pytest, in the environment of all scripts.
#   bash scripts/test.sh [--slow] [--no-lint] [pytest's own arguments]
# --slow runs the slow tests instead of the fast ones, --no-lint only pytest. Adds the tools and all
# extras to the environment. Needs no network once that is made: without the weights of fetch_minilm.sh, and without GLUE_DATA_DIR, the
# tests that need them are skipped, with the reason.
# Variables: GLUE_DATA_DIR, BERT_PADDLE_HOME; PYTHON (see environment.sh); PYTEST_DEBUG_TEMPROOT
#            where the tests write, to look at it afterwards (default: in memory, where it has room)
set -euo pipefail
# Containers often set it: each of the tests' processes would compile scipy and sklearn anew.
unset PYTHONDONTWRITEBYTECODE
bash "$(dirname "$0")/environment.sh" --dev
. "$(dirname "$0")/environment.sh"

tier="not slow" lint=1 arguments=()
for argument in "$@"; do
    case $argument in
        --slow) tier=slow ;;
        --no-lint) lint=0 ;;
        *) arguments+=("$argument") ;;
    esac
done

PY=$PY bash "$REPO/scripts/fetch_minilm.sh" ||
    echo "no weights: tests marked real_weights will be skipped" >&2
cd "$REPO"
if ((lint)); then
    "$PY" -m ruff check .
    "$PY" -m mypy
    "${PY%/*}/lint-imports" --no-cache --no-logo
fi
# The tests flush thousands of checkpoints to the disk, which costs nothing in memory.
has_room() { # folder: true with 4 GB of room, where programs can be started
    local program free
    free=$(df -Pk "$1" 2>/dev/null | awk 'NR == 2 { print $4 }')
    ((${free:-0} > 4000000)) && program=$(mktemp "$1/program.XXXXXX") || return 1
    printf '#!/bin/sh\n' >"$program"
    chmod +x "$program"
    "$program" 2>/dev/null && rm "$program" || { rm "$program" && return 1; }
}
if [[ -z ${PYTEST_DEBUG_TEMPROOT:-} ]] && has_room /dev/shm; then
    PYTEST_DEBUG_TEMPROOT=$(mktemp -d /dev/shm/bert_paddle_tests.XXXXXX)
    export PYTEST_DEBUG_TEMPROOT
    trap 'rm -rf "$PYTEST_DEBUG_TEMPROOT"' EXIT
fi
# One process more than cores, since tests wait for ranks and their timeouts; a file's tests stay in one process, since they share fixtures. The
# order of the files is that of tests/conftest.py.
"$PY" -m pytest -m "$tier" -n "$(($(getconf _NPROCESSORS_ONLN) + 1))" --dist loadfile --no-loadscope-reorder \
    ${arguments[@]+"${arguments[@]}"}
