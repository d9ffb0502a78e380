#!/usr/bin/env bash
# Fine-tunes BERT on two cards through Paddle's launcher. Where PaddlePaddle sees no two GPUs, the
# same two processes run on the CPU (gloo). BATCH_SIZE is per card: two cards take twice as much.
# The output of each process goes to <OUTPUT_DIR>_workers.
# Variables: those of recipe.sh but N_GPU; TASK_NAME (SST-2), OUTPUT_DIR (runs/two_cards),
#            CUDA_VISIBLE_DEVICES (which two)
set -euo pipefail
. "$(dirname "$0")/recipe.sh"
. "$(dirname "$0")/launcher.sh"

output=$(flag_value output_dir "${OUTPUT_DIR:-$RUNS/two_cards}" "${EXTRA_FLAGS[@]}" "$@")
launch_into "${output%/}_workers"
exec "${LAUNCH[@]}" "${GLUE[@]:2}" --model_type bert --model_name_or_path "$MODEL" \
    --task_name "${TASK_NAME:-SST-2}" --max_seq_length 128 --batch_size "$BATCH_SIZE" \
    --learning_rate "$LR" --num_train_epochs "$EPOCHS" --logging_steps 100 --save_steps 500 --seed "$SEED" \
    --output_dir "$output" "${EXTRA_FLAGS[@]}" "$@"
