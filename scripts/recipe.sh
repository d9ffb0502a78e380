#!/usr/bin/env bash
# What the recipes share: the environment, the defaults of their variables, and the small model's
# weights if MODEL names it. For sourcing: . "$(dirname "$0")/recipe.sh"
# Variables, for every recipe:
#   MODEL       model name, Paddle folder or Hugging Face folder (bert-base-uncased); the name
#               all-minilm-l6-v2 is a small real model that comes with a Python package
#   EPOCHS (3), BATCH_SIZE (32, per card), LR (2e-5), SEED (42)
#   N_GPU       GPUs to use (1 with the GPU build of PaddlePaddle, else 0: the CPU)
#   EXTRA       more flags in one string; flags given to the recipe itself come after them
# Output goes to runs/ in the repository unless OUTPUT_DIR is set.
# shellcheck disable=SC2034  # most of what is set here is for the script that sources this
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

gpu_build=("$REPO"/.venv/lib/python3.*/site-packages/paddlepaddle_gpu-*.dist-info)
MODEL=${MODEL:-bert-base-uncased}
EPOCHS=${EPOCHS:-3}
BATCH_SIZE=${BATCH_SIZE:-32}
LR=${LR:-2e-5}
SEED=${SEED:-42}
N_GPU=${N_GPU:-$([[ -e ${gpu_build[0]} ]] && echo 1 || echo 0)}
read -ra EXTRA_FLAGS <<<"${EXTRA:-}" || true
GLUE=("$PY" -u "$REPO/run_glue.py")
RUNS=$REPO/runs
if [[ $PWD == "$REPO" ]]; then # short paths in what is printed
    GLUE=("$PY" -u run_glue.py)
    RUNS=runs
fi

flag_value() { # NAME DEFAULT [flags]: the value of the last --NAME among the flags, or DEFAULT
    local name=$1 value=$2
    shift 2
    while (($#)); do
        case $1 in
        "--$name="*) value=${1#*=} ;;
        "--$name") value=${2:-} ;;
        esac
        shift
    done
    printf '%s' "$value"
}

if [[ $MODEL == all-minilm-l6-v2 ]]; then
    PY=$PY bash "$REPO/scripts/fetch_minilm.sh"
fi
