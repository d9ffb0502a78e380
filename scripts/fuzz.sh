#!/usr/bin/env bash
# Feeds mutated files to everything that reads untrusted ones, guided by coverage (atheris).
#   bash scripts/fuzz.sh [TARGET...]      default: all targets of tests/fuzz/targets.py
# Each runs FUZZ_SECONDS. Crashing inputs are stored in runs/fuzz/TARGET, and the exit code is 1; add
# each to tests/fuzz/corpus/TARGET, which the ordinary tests replay. The fuzzer is installed
# into .venv-fuzz, which borrows the packages of .venv (Linux on x86-64; needs the network once).
# Variables: FUZZ_SECONDS  per target (default: 60)
set -euo pipefail
. "$(dirname "$0")/environment.sh"
cd "$REPO"

venv=$REPO/.venv-fuzz
if ! "$venv/bin/python" -c 'import atheris, numpy' 2>/dev/null; then
    echo "making .venv-fuzz" >&2
    rm -rf "$venv"
    "$PY" -m venv "$venv"
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --quiet --no-deps \
        --require-hashes --requirement tests/fuzz/requirements.txt || {
        echo "error: atheris could not be installed (it has packages for Linux on x86-64 alone)" >&2
        exit 2
    }
    packages='import site; print(site.getsitepackages()[0])'
    "$PY" -c "$packages" >"$("$venv/bin/python" -c "$packages")/project.pth"
fi

names=("$@")
if ((${#names[@]} == 0)); then
    while read -r name; do names+=("$name"); done < <(cd tests/fuzz && PYTHONPATH=$REPO "$PY" -c \
        'import targets; print("\n".join(targets.TARGETS))')
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
found=0
for name in "${names[@]}"; do
    kept=runs/fuzz/$name
    mkdir -p "$kept"
    rm -f "$kept"/* 2>/dev/null || true
    code=0
    TMPDIR=$place OMP_NUM_THREADS=1 "$venv/bin/python" tests/fuzz/run_target.py "$name" "$kept" \
        -max_total_time="${FUZZ_SECONDS:-60}" -timeout=20 -rss_limit_mb=3000 -max_len=20000 \
        -artifact_prefix="$kept/" -print_final_stats=1 >"$kept/log" 2>&1 || code=$?
    rm -rf "${place:?}"/*
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$kept/log")
    findings=$(find "$kept" -maxdepth 1 -type f ! -name log ! -name 'slow-unit-*' | sort)
    echo "$name: ${runs:-?} inputs in ${FUZZ_SECONDS:-60} s, exit code $code"
    if [[ -n $findings ]]; then
        found=1
        # shellcheck disable=SC2086  # one a line
        printf '  finding: %s\n' $findings
    elif ((code)); then
        found=1
        tail -n 3 "$kept/log" >&2
    fi
done
exit "$found"
