#!/usr/bin/env bash
# Kills runs at every point of their writing and at random times, simulates disk errors, and resumes
# each: it must end bit for bit like the uninterrupted run. Stops at the first one that does not.
# Half an hour on two cores; needs no network once the environment is made.
#   bash scripts/soak.sh      the tables of benchmarks/soak.md: runs/soak/table.md
# Variables: SOAK_KILLS  at random times, for each of the two programs (default: 100)
#            SOAK_SEED   of how long each of these runs lives (default: 0)
set -euo pipefail
. "$(dirname "$0")/environment.sh"
cd "$REPO"
mkdir -p runs/soak
"$PY" tests/support/soak.py --kills "${SOAK_KILLS:-100}" --seed "${SOAK_SEED:-0}" \
    --table runs/soak/table.md 2>&1 | tee runs/soak/log
