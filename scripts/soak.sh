#!/usr/bin/env bash
# Kills runs at every point of what they write and at random times, has the disk refuse, and starts
# each again: it must end bit for bit as the run that nothing stopped. Stops at the first that does
# not. Half an hour on two cores; needs no network once the environment is made.
#   bash scripts/soak.sh      the table of docs/RELIABILITY.md: runs/soak/table.md
# Variables: SOAK_KILLS  at random times, for each of the two programs (default: 100)
#            SOAK_SEED   of how long each of these runs lives (default: 0)
set -euo pipefail
. "$(dirname "$0")/environment.sh"
cd "$REPO"
mkdir -p runs/soak
"$PY" tests/support/soak.py --kills "${SOAK_KILLS:-100}" --seed "${SOAK_SEED:-0}" \
    --table runs/soak/table.md 2>&1 | tee runs/soak/log
