#!/usr/bin/env bash
# Fine-tunes BERT on SST-2 on one card: the documented command line with its values.
# Variables: those of recipe.sh; OUTPUT_DIR (runs/sst2)
set -euo pipefail
. "$(dirname "$0")/recipe.sh"

exec "${GLUE[@]}" --model_type bert --model_name_or_path "$MODEL" --task_name SST-2 \
    --max_seq_length 128 --batch_size "$BATCH_SIZE" --learning_rate "$LR" \
    --num_train_epochs "$EPOCHS" --logging_steps 1 --save_steps 500 --seed "$SEED" \
    --output_dir "${OUTPUT_DIR:-$RUNS/sst2}" --n_gpu "$N_GPU" "${EXTRA_FLAGS[@]}" "$@"
