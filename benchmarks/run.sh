#!/usr/bin/env bash
# Measures this project beside its peers, in interleaved rounds, each program on 2 threads:
#   bash benchmarks/run.sh [training|prediction|pretraining|tokenizing|start|memory|limit ...]
# All by default; `bash benchmarks/run.sh --help` names the variables (ROUNDS, STEPS, QUICK=1 ...).
# Results: benchmarks/results/speed-<date>.json and .md. For figures worth keeping, nothing else may
# run on the machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/environment.sh
. scripts/environment.sh >&2
exec "$PY" -m benchmarks.suite "$@"
