#!/usr/bin/env bash
# Makes .venv-peers in the repository root: the environment of benchmarks/peers and of
# tests/reference/recompute.py. An environment already complete is left as it is.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="$here/../../.venv-peers"
pins="$here/requirements.txt"
stamp="$venv/.complete"

# The stamp is a copy of the pins, written last: it is missing after an interrupted run and
# differs after a change of the pins.
if [ -x "$venv/bin/python" ] && cmp -s "$pins" "$stamp"; then
    echo "peer environment is complete: .venv-peers"
    exit 0
fi

[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
echo '*' > "$venv/.gitignore"
# torch alone and first: a local CPU wheel (PIP_FIND_LINKS) then satisfies the pin, and nothing
# that follows can pull in the CUDA build instead.
"$venv/bin/python" -m pip install "$(grep '^torch==' "$pins")"
"$venv/bin/python" -m pip install -r "$pins"
cp "$pins" "$stamp"
echo "peer environment is complete: .venv-peers"
