#!/usr/bin/env bash
# Fine-tunes BERT on two hosts (NODES: on more) as one job. Run it on each host with the same
# variables; output folder, data and model must have the same path on all, best on a shared disk.
# On one machine, two shells with MASTER=127.0.0.1:6170 will do.
# BATCH_SIZE is per process: a step has N times as many rows with N processes.
# The output of each process goes to <OUTPUT_DIR>_workers/<host>; that of the first also goes here.
# Variables: those of recipe.sh but N_GPU, and of hosts.sh (MASTER is needed; NODES, NODE_RANK,
#            PER_NODE, RESTARTS); TASK_NAME (SST-2), OUTPUT_DIR (runs/two_hosts)
set -euo pipefail
. "$(dirname "$0")/recipe.sh"
. "$(dirname "$0")/hosts.sh"

output=$(flag_value output_dir "${OUTPUT_DIR:-$RUNS/two_hosts}" ${EXTRA_FLAGS[@]+"${EXTRA_FLAGS[@]}"} "$@")
on_hosts "${output%/}_workers/${NODE_RANK:-$(hostname)-$$}" "${GLUE[@]:2}" --model_type bert \
    --model_name_or_path "$MODEL" --task_name "${TASK_NAME:-SST-2}" --max_seq_length 128 \
    --batch_size "$BATCH_SIZE" --learning_rate "$LR" --num_train_epochs "$EPOCHS" \
    --logging_steps 100 --save_steps 500 --seed "$SEED" --output_dir "$output" \
    ${EXTRA_FLAGS[@]+"${EXTRA_FLAGS[@]}"} "$@"
