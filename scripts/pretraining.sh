#!/usr/bin/env bash
# What the pre-training recipes share, after recipe.sh: the shards, the vocabulary, the program. For
# sourcing: . "$(dirname "$0")/pretraining.sh"
# Variables: DATA_DIR (needed), VOCAB_FILE (none)
# shellcheck disable=SC2034  # what is set here is for the script that sources this
set -euo pipefail

if [[ -z ${DATA_DIR:-} ]]; then
    echo "error: DATA_DIR is not set: give the folder of the *.hdf5 shards, which" \
        "scripts/create_pretraining_data.py makes" >&2
    exit 2
fi
PROGRAM=$REPO/run_pretrain.py
if [[ $PWD == "$REPO" ]]; then PROGRAM=run_pretrain.py; fi
COMMON=(--model_type bert --model_name_or_path "$MODEL" --input_dir "$DATA_DIR"
    --batch_size "$BATCH_SIZE" --seed "$SEED")
if [[ -n ${VOCAB_FILE:-} ]]; then COMMON+=(--vocab_file "$VOCAB_FILE"); fi
