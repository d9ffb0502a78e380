#!/usr/bin/env bash
# The Python environment of all scripts: .venv in the repository, with the package's dependencies as
# the lock files pin them.
#   . scripts/environment.sh             in a script: makes .venv where needed, sets REPO and PY
#   bash scripts/environment.sh [--dev] [--paddle BUILD]
# --dev adds all extras and the tools of the tests. BUILD is cpu (default), gpu (the build for this
# machine's driver, by nvidia-smi), cu118, cu126, cu129, cu130, or none (leave Paddle alone).
# Made once (see README for seconds and MB); later calls only check it, and keep the build of Paddle.
# .venv/installed, which is written last, says what is complete. Without it .venv is made again; a
# changed lock is installed over a complete one. A second script started meanwhile waits.
# uv installs, from PATH or else fetched into .uv; where it cannot be had, pip does the same.
# Variables: PYTHON     the Python to make .venv with (default: python3.11, else any 3.10 to 3.13)
#            INSTALLER  pip: do without uv
#            and those of uv and pip: UV_DEFAULT_INDEX and PIP_INDEX_URL for a mirror, HTTPS_PROXY

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
stamp=$venv/installed
unfinished=$venv/unfinished
log=$venv/install.log
paddle_version=3.3.1
paddle_index=https://www.paddlepaddle.org.cn/packages/stable
uv_version=0.13.9

fail() { # exit code, words...
    local code=$1
    shift
    echo "error: $*" >&2
    exit "$code"
}

read_flags() {
    set_name="" build=""
    while (($#)); do
        case $1 in
            --dev) set_name=dev ;;
            --paddle) build=${2:-} && shift ;;
            --paddle=*) build=${1#*=} ;;
            -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit 0 ;;
            *) fail 2 "$1 is no flag of environment.sh: it takes --dev and --paddle BUILD" ;;
        esac
        shift
    done
    case $build in
        "" | cpu | none | cu118 | cu126 | cu129 | cu130) ;;
        gpu) build=$(gpu_build) ;;
        *) fail 2 "--paddle '$build' is not one of cpu, gpu, cu118, cu126, cu129, cu130, none" ;;
    esac
}

gpu_build() { # prints the newest build that the NVIDIA driver of this machine can run
    local words cuda capability
    words=$(nvidia-smi 2>/dev/null) ||
        fail 2 "--paddle gpu: nvidia-smi does not run here, so there is no driver: install NVIDIA's" \
            "driver, or name the build for another machine, as in --paddle cu126"
    cuda=$(sed -nE 's/.*CUDA Version: *([0-9]+)\.([0-9]+).*/\1 \2/p' <<<"$words" | head -n 1)
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null |
        cut -d. -f1 | sort -n | tail -n 1)
    case "${cuda%% *}" in
        11) echo cu118 ;;
        12)
            # Blackwell (RTX 50, B200: 10.0 and 12.0) needs CUDA 12.8 or newer.
            if [[ $capability =~ ^[0-9]+$ ]] && ((capability >= 10)); then
                echo cu129
            else
                echo cu126
            fi
            ;;
        1[3-9] | [2-9][0-9]) echo cu130 ;;
        *) fail 2 "--paddle gpu: the driver knows CUDA '${cuda/ /.}', and Paddle $paddle_version has" \
            "builds for 11.8 and newer: renew the driver" ;;
    esac
}

sha256() { # files...
    if command -v sha256sum >/dev/null; then
        cat "$@" | sha256sum
    else
        cat "$@" | shasum -a 256
    fi | cut -c1-64
}

# Prints "3.11" if the Python given can make the environment.
fitting_version() { # a python
    "$1" -c 'import sys
v = sys.version_info[:2]
print("%d.%d" % v) if (3, 10) <= v <= (3, 13) else sys.exit(1)' 2>/dev/null
}

find_python() { # prints the Python to use
    local candidate version found="" candidates
    candidates=(python3.11 python3 python3.12 python3.13 python3.10)
    [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if fitting_version "$candidate" >/dev/null; then
            echo "$candidate"
            return
        fi
        version=$("$candidate" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' \
            2>/dev/null) || continue
        [[ -n $found ]] || found="$candidate here is Python $version"
    done
    if [[ -z ${PYTHON:-} && ${INSTALLER:-} != pip ]] && command -v uv >/dev/null; then
        uv python find --no-project '>=3.10,<3.14' 2>/dev/null && return
        echo "no Python 3.10 to 3.13 here: uv fetches 3.11" >&2
        uv python install --quiet 3.11 >&2 && uv python find --no-project 3.11 && return
    fi
    [[ -n $found ]] || found="${PYTHON:-python3} cannot be run here"
    fail 2 "Python 3.10, 3.11, 3.12 or 3.13 is needed and $found: install one (uv python install" \
        "3.11 does), or name one that is elsewhere with PYTHON=/path/to/python3"
}

find_uv() { # sets uv; empty: pip does the work
    uv=""
    [[ ${INSTALLER:-} != pip ]] || return 0
    for uv in uv "$repo/.uv/bin/uv"; do
        if "$uv" --version >/dev/null 2>&1; then return; fi
    done
    uv=$repo/.uv/bin/uv
    rm -rf "$repo/.uv"
    if "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --quiet \
        --target "$repo/.uv" "uv==$uv_version" >"$log" 2>&1 && "$uv" --version >/dev/null 2>&1; then
        return
    fi
    rm -rf "$repo/.uv"
    uv=""
    echo "uv cannot be had ($(why)): pip installs, which takes longer" >&2
}

why() { # the installer's log in a few words
    local offline="NewConnectionError|name resolution|ConnectTimeout|ReadTimeout|ProxyError"
    offline+="|unreachable|Connection (refused|reset|broken)|dns error|error sending request"
    offline+="|Failed to fetch|No route to host|timed out"
    if grep -qi 'No space left\|os error 28' "$log"; then
        echo "the disk is full"
    elif grep -qiE 'DO NOT MATCH THE HASHES|Hash mismatch|no hashes|must have a hash' "$log"; then
        echo "a package does not have the hash that the lock gives: git checkout requirements*.txt" \
            "if the lock was edited"
    elif grep -qiE "$offline" "$log"; then
        echo "no network, or no package index in reach"
    elif grep -qi 'No matching distribution\|no wheels\|no solution found' "$log"; then
        echo "there is no package for Python $version on $(uname -sm)"
    elif grep -qi 'Failed to initialize cache' "$log"; then
        echo "uv cannot write to its cache: name a folder of your own in UV_CACHE_DIR"
    elif grep -qi 'Permission denied\|Read-only file system' "$log"; then
        grep -im1 -o '[^ ]* *Permission denied.*\|[^:]*: *Read-only file system.*' "$log"
    else
        grep -im1 '^ *error' "$log" || echo "the installer stopped"
    fi
}

install() { # flags and files of pip install
    if [[ -n $uv ]]; then
        "$uv" pip install --python "$venv/bin/python" "$@"
    else
        "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@"
    fi >>"$log" 2>&1 ||
        fail 1 "the packages could not be installed: $(why); the installer's own words are in $log"
}

make_venv() {
    python=$(find_python)
    version=$(fitting_version "$python")
    if [[ -e $venv || -L $venv ]]; then
        echo ".venv is unfinished, of another Python, or does not start: making it anew" >&2
        rm -rf "$venv"
    fi
    echo "making .venv with Python $version and the packages of the lock" >&2
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        words=$("$python" -m venv "$venv" 2>&1) ||
            fail 1 "$venv cannot be made: ${words##*$'\n'}"
    elif [[ ${INSTALLER:-} != pip ]] && uv --version >/dev/null 2>&1; then
        words=$(uv venv --quiet --no-project --python "$python" "$venv" 2>&1) ||
            fail 1 "$venv cannot be made: ${words##*$'\n'}"
    else
        fail 2 "$python comes without venv: on Debian and Ubuntu, install python$version-venv," \
            "or install uv"
    fi
}

# What is installed, as "digest-of-the-locks set build"; "" where .venv is not complete.
installed() {
    local have asked
    [[ -f $stamp ]] && have=$(fitting_version "$venv/bin/python") || return 0
    asked=$([[ -z ${PYTHON:-} ]] || fitting_version "$PYTHON") || asked=""
    if [[ -z $asked || $asked == "$have" ]]; then cat "$stamp"; fi
}

settle() { # sets wanted: what should be installed; keeps what was chosen where no flag says otherwise
    local have_lock have_set have_build
    read -r have_lock have_set have_build <<<"$(cat "$stamp" "$unfinished" 2>/dev/null)" || true
    wanted="$(sha256 "$repo"/requirements*lock.txt "$repo/requirements-cpu.txt")"
    wanted+=" ${set_name:-${have_set:-lean}} ${build:-${have_build:-cpu}}"
    current=$(installed)
}

read_flags "$@"
settle
if [[ $current == "$wanted" ]]; then exit 0; fi

exec 9<"$repo/requirements-lock.txt"
if command -v flock >/dev/null && ! flock --nonblock 9; then
    echo "another script is making .venv: waiting for it" >&2
    flock 9
    settle
    if [[ $current == "$wanted" ]]; then exit 0; fi
fi

read -r _ set_name build <<<"$wanted"
read -r _ _ have_build <<<"$current" || true
if [[ -n $(installed) ]]; then
    version=$(fitting_version "$venv/bin/python")
    echo "installing what has changed into .venv" >&2
    rm "$stamp" # from here on an interruption leaves a .venv that is not taken for complete
else
    make_venv
fi
echo "$wanted" >"$unfinished" # what was chosen, for the run after an interruption
: >"$log"
find_uv

lock=$repo/requirements-lock.txt
[[ $set_name != dev ]] || lock=$repo/requirements-dev-lock.txt
install --no-deps --require-hashes --requirement "$lock"
# Both builds of Paddle fill the same folder: the other one goes first, none comes back later.
if [[ $build != none && -n ${have_build:-} && $have_build != "$build" ]]; then
    for package in paddlepaddle paddlepaddle-gpu; do
        "$venv/bin/python" -m pip uninstall --yes --quiet "$package" >>"$log" 2>&1 || true
    done
fi
case $build in
    none) ;;
    cpu) install --no-deps --require-hashes --requirement "$repo/requirements-cpu.txt" ;;
    *) install --index-url "$paddle_index/$build/" "paddlepaddle-gpu==$paddle_version" ;;
esac
echo "$wanted" >"$stamp.new"
mv "$stamp.new" "$stamp"
rm -f "$unfinished"
