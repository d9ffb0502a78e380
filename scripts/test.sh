#!/usr/bin/env bash
# Checks the code: ruff, mypy, import-linter, then pytest, in the environment of all scripts.
#   bash scripts/test.sh [--slow] [--no-lint] [pytest's own arguments]
# --slow runs the slow tests instead of the fast ones, --no-lint only pytest. Adds the tools and all
# extras to the environment. Needs no network once that is made: without the weights of fetch_minilm.sh, and without GLUE_DATA_DIR, the
# tests that need them are skipped, with the reason.
# Variables: GLUE_DATA_DIR, BERT_PADDLE_HOME; PYTHON (see environment.sh)
set -euo pipefail
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
# As many processes as cores; a file's tests stay in one process, since they share fixtures. The
# order of the files is that of tests/conftest.py.
exec "$PY" -m pytest -m "$tier" -n auto --dist loadfile --no-loadscope-reorder \
    ${arguments[@]+"${arguments[@]}"}
