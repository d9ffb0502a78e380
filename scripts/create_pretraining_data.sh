#!/usr/bin/env bash
# Makes HDF5 shards for pre-training from plain text: BERT's masked words and next sentences, in the
# layout of NVIDIA's tool. Stopped and started again, it goes on. More flags may follow:
# python scripts/create_pretraining_data.py --help
# Variables: TEXT (needed)  files, folders or globs, separated by commas; .gz is read too
#            VOCAB (needed)  a vocab.txt, or a model's folder
#            OUTPUT_DIR (runs/pretraining_data), FORM (lines: one sentence a line, a blank line
#            between documents; or prose), LANGUAGE (en)
#            MAX_SEQ_LENGTH (128), MAX_PREDICTIONS (20), DUPE_FACTOR (5), SEED (12345)
#            WORKERS (all cores), TEST_SHARE (0.02: share of the documents that is held out)
set -euo pipefail
. "$(dirname "$0")/environment.sh"

if [[ -z ${TEXT:-} || -z ${VOCAB:-} ]]; then
    echo "error: TEXT and VOCAB are needed: the text to read, and a vocab.txt or a model's folder" >&2
    exit 2
fi
output=$REPO/runs/pretraining_data
if [[ $PWD == "$REPO" ]]; then output=runs/pretraining_data; fi

exec "$PY" -u "$REPO/scripts/create_pretraining_data.py" --input_files "$TEXT" \
    --vocab_file "$VOCAB" --output_dir "${OUTPUT_DIR:-$output}" --form "${FORM:-lines}" \
    --language "${LANGUAGE:-en}" --max_seq_length "${MAX_SEQ_LENGTH:-128}" \
    --max_predictions_per_seq "${MAX_PREDICTIONS:-20}" --masked_lm_prob 0.15 \
    --dupe_factor "${DUPE_FACTOR:-5}" --random_seed "${SEED:-12345}" \
    --test_share "${TEST_SHARE:-0.02}" --workers "${WORKERS:-$(nproc)}" "$@"
