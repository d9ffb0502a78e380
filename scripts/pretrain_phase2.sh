#!/usr/bin/env bash
# Phase 2 of pre-training: continues from phase 1's weights with long sequences, by NVIDIA's recipe
# (LAMB, polynomial schedule, 12.8 % warm-up, 1,563 steps of 32,768 rows). Shards of length 512
# with 80 predictions: scripts/create_pretraining_data.py --max_seq_length 512
# --max_predictions_per_seq 80
# Variables: those of pretrain.sh; PHASE1 (needed)  phase 1's checkpoint, such as out/model_7038
#            LR (4e-3), STEPS (1563), OUTPUT_DIR (runs/pretrain_phase2)
#            ROWS (32768)  rows of a step over all cards; accumulated if they do not fit the cards at once
set -euo pipefail
if [[ ! -f ${PHASE1:-}/config.json ]]; then
    echo "error: PHASE1=${PHASE1:-} is not a checkpoint: give the model_<step> folder of phase 1" >&2
    exit 2
fi
MODEL=$PHASE1
LR=${LR:-4e-3}
N_GPU=${N_GPU:-2}
. "$(dirname "$0")/recipe.sh"
. "$(dirname "$0")/pretraining.sh"

batch_size=$(flag_value batch_size "$BATCH_SIZE" "${EXTRA_FLAGS[@]}" "$@")
n_gpu=$(flag_value n_gpu "$N_GPU" "${EXTRA_FLAGS[@]}" "$@")
at_once=$((batch_size * (n_gpu > 0 ? n_gpu : 1)))
exec "$PY" -u "$PROGRAM" "${COMMON[@]}" --init_from "$PHASE1" \
    --output_dir "${OUTPUT_DIR:-$RUNS/pretrain_phase2}" --max_predictions_per_seq 80 \
    --optimizer lamb --learning_rate "$LR" --lr_scheduler_type poly --warmup_ratio 0.128 \
    --weight_decay 1e-2 --adam_epsilon 1e-6 --num_train_epochs 1e5 --max_steps "${STEPS:-1563}" \
    --gradient_accumulation_steps $(((${ROWS:-32768} + at_once - 1) / at_once)) \
    --logging_steps 10 --save_steps 200 --n_gpu "$N_GPU" "${EXTRA_FLAGS[@]}" "$@"
