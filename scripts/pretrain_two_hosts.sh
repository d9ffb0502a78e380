#!/usr/bin/env bash
# Pre-trains BERT on two hosts (NODES: on more) as one job. Run it on each host with the same
# variables; output folder and shards must have the same path on all, best on a shared disk.
# The output of each process goes to <OUTPUT_DIR>_workers/<host>; that of the first also goes here.
# Variables: those of pretrain.sh but N_GPU, and of hosts.sh (MASTER is needed; NODES, NODE_RANK,
#            PER_NODE, RESTARTS); OUTPUT_DIR (runs/pretrain_two_hosts)
set -euo pipefail
LR=${LR:-1e-4}
. "$(dirname "$0")/recipe.sh"
. "$(dirname "$0")/pretraining.sh"
. "$(dirname "$0")/hosts.sh"

output=$(flag_value output_dir "${OUTPUT_DIR:-$RUNS/pretrain_two_hosts}" ${EXTRA_FLAGS[@]+"${EXTRA_FLAGS[@]}"} "$@")
on_hosts "${output%/}_workers/${NODE_RANK:-$(hostname)-$$}" "$PROGRAM" "${COMMON[@]}" \
    --output_dir "$output" --max_predictions_per_seq 20 --learning_rate "$LR" \
    --weight_decay 1e-2 --adam_epsilon 1e-6 --warmup_steps 10000 --num_train_epochs 1e5 \
    --logging_steps 100 --save_steps 20000 --max_steps 1000000 \
    ${EXTRA_FLAGS[@]+"${EXTRA_FLAGS[@]}"} "$@"
