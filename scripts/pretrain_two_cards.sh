#!/usr/bin/env bash
# Pre-trains BERT on two cards through Paddle's launcher; where there are no two GPUs, on the CPU.
# The output of each process goes to <OUTPUT_DIR>_workers.
# Variables: those of pretrain.sh but N_GPU; OUTPUT_DIR (runs/pretrain_two_cards)
set -euo pipefail
LR=${LR:-1e-4}
. "$(dirname "$0")/recipe.sh"
. "$(dirname "$0")/pretraining.sh"
. "$(dirname "$0")/launcher.sh"

output=$(flag_value output_dir "${OUTPUT_DIR:-$RUNS/pretrain_two_cards}" "${EXTRA_FLAGS[@]}" "$@")
launch_into "${output%/}_workers"
exec "${LAUNCH[@]}" "$PROGRAM" "${COMMON[@]}" --output_dir "$output" \
    --max_predictions_per_seq 20 --learning_rate "$LR" --weight_decay 1e-2 --adam_epsilon 1e-6 \
    --warmup_steps 10000 --num_train_epochs 1e5 --logging_steps 100 --save_steps 20000 \
    --max_steps 1000000 "${EXTRA_FLAGS[@]}" "$@"
