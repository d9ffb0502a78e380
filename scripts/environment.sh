#!/usr/bin/env bash
# The Python environment of all scripts: .venv in the repository, made from requirements-lock.txt.
#   . scripts/environment.sh      in a script: makes .venv where needed, then sets REPO and PY
#   bash scripts/environment.sh   only makes .venv
# Made once (2-3 minutes, 1.9 GB); later calls only check it. It is complete when .venv/lock.sha256,
# which is written last, holds the lock's SHA-256. An incomplete one is made again, and a changed
# lock is installed over a complete one. A second script started meanwhile waits.
# Variables: PYTHON  the Python 3.11 to make .venv with (default: python3.11, else python3)

# shellcheck disable=SC2034  # PY is for the script that sources this
if [[ "${BASH_SOURCE[0]}" != "$0" ]]; then
    # Sourced, perhaps by a person's shell: the work is done by a child, so that neither its
    # options nor its lock stay behind here.
    REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    bash "$REPO/scripts/environment.sh" || return $?
    PY=$REPO/.venv/bin/python
    return 0
fi

set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
venv=$repo/.venv
lock=$repo/requirements-lock.txt
stamp=$venv/lock.sha256
log=$venv/install.log

fail() { # exit code, words...
    local code=$1
    shift
    echo "error: $*" >&2
    exit "$code"
}

sha256() {
    if command -v sha256sum >/dev/null; then
        sha256sum "$1"
    else
        shasum -a 256 "$1"
    fi | cut -c1-64
}

runs_311() { # a python
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1
}

whole() {
    [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && runs_311 "$venv/bin/python"
}

find_python() { # prints the Python 3.11 to use
    local candidate version found="" candidates=(python3.11 python3)
    [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if runs_311 "$candidate"; then
            echo "$candidate"
            return
        fi
        version=$("$candidate" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' \
            2>/dev/null) || continue
        found="$candidate here is Python $version"
    done
    [[ -n $found ]] || found="${PYTHON:-python3} cannot be run here"
    fail 2 "Python 3.11 is needed and $found: install Python 3.11, or name one that is" \
        "elsewhere with PYTHON=/path/to/python3.11"
}

why() { # pip's log in a few words
    local offline="NewConnectionError|name resolution|ConnectTimeout|ReadTimeout|ProxyError"
    offline+="|unreachable|Connection (refused|reset|broken)"
    if grep -qiE "$offline" "$log"; then
        echo "no network, or no package index in reach"
    elif grep -qi 'No space left' "$log"; then
        echo "the disk is full"
    elif grep -q 'DO NOT MATCH THE HASHES' "$log"; then
        echo "a downloaded package does not have the hash that the lock gives"
    elif grep -q 'No matching distribution' "$log"; then
        echo "$(grep -m1 -o 'No matching distribution found for .*' "$log") on $(uname -sm)"
    else
        echo "pip stopped"
    fi
}

wanted=$(sha256 "$lock")
if whole; then exit 0; fi

exec {lock_fd}<"$lock"
if command -v flock >/dev/null && ! flock --nonblock "$lock_fd"; then
    echo "another script is making .venv: waiting for it" >&2
    flock "$lock_fd"
    if whole; then exit 0; fi
fi

if [[ -f $stamp ]] && runs_311 "$venv/bin/python"; then
    echo "requirements-lock.txt has changed: installing it over .venv (up to 3 minutes)" >&2
    rm "$stamp" # from here on an interruption leaves a .venv that is not taken for whole
else
    python=$(find_python)
    if [[ -e $venv || -L $venv ]]; then
        echo ".venv is unfinished or its Python does not start: making it anew" >&2
        rm -rf "$venv"
    fi
    echo "making .venv with $("$python" --version) and the packages of requirements-lock.txt:" \
        "2-3 minutes, 1.9 GB" >&2
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail 2 "$python comes without venv: on Debian and Ubuntu, install python3.11-venv"
    words=$("$python" -m venv "$venv" 2>&1) || fail 1 "$venv cannot be made: ${words##*$'\n'}"
fi

# PIP_USE_PEP517: pip 23.0, as Debian 12 has it, cannot build seqeval otherwise.
PIP_USE_PEP517=1 "$venv/bin/python" -m pip install --disable-pip-version-check --no-input \
    --require-hashes --requirement "$lock" >"$log" 2>&1 ||
    fail 1 "the packages could not be installed: $(why); pip's own words are in $log"
echo "$wanted" >"$stamp.new"
mv "$stamp.new" "$stamp"
