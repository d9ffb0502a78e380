#!/usr/bin/env bash
# Pre-trains BERT on two cards from HDF5 shards: the command line of PaddleNLP's BERT example. Where
# no two GPUs are visible, the same two processes run on the CPU (gloo). More flags may follow.
# Variables: DATA_DIR (needed)  folder of *.hdf5 shards; scripts/create_pretraining_data.py makes them
#            OUTPUT_DIR (runs/pretrain), VOCAB_FILE (the model's own, or that beside the shards)
#            MODEL, BATCH_SIZE, LR (1e-4), SEED, EXTRA: as in recipe.sh; N_GPU (2)
set -euo pipefail
LR=${LR:-1e-4}
N_GPU=${N_GPU:-2}
. "$(dirname "$0")/recipe.sh"
. "$(dirname "$0")/pretraining.sh"

exec "$PY" -u "$PROGRAM" "${COMMON[@]}" --output_dir "${OUTPUT_DIR:-$RUNS/pretrain}" \
    --max_predictions_per_seq 20 --learning_rate "$LR" --weight_decay 1e-2 --adam_epsilon 1e-6 \
    --warmup_steps 10000 --num_train_epochs 1e5 --logging_steps 100 --save_steps 20000 \
    --max_steps 1000000 --n_gpu "$N_GPU" "${EXTRA_FLAGS[@]}" "$@"
