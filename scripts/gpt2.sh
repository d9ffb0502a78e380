#!/usr/bin/env bash
# Fine-tunes GPT-2 on a CSV of short texts: the documented command line with its values.
# Variables: TRAIN_FILE (tmp/bios.csv, invented biographies, made if it is not there),
#            TEXT_COLUMN (bio), MODEL (gpt2), OUTPUT_DIR (tmp/gpt2), PY (python);
#            flags given to the script come after its own
set -euo pipefail
cd "$(dirname "$0")/.."
PY=${PY:-$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python)}
TRAIN_FILE=${TRAIN_FILE:-tmp/bios.csv}

if [[ ! -e $TRAIN_FILE ]]; then
    mkdir -p "$(dirname "$TRAIN_FILE")"
    "$PY" scripts/make_demo_bios.py "$TRAIN_FILE"
fi
exec "$PY" -u run_clm.py --model_type gpt2 --model_name_or_path "${MODEL:-gpt2}" \
    --train_file "$TRAIN_FILE" --text_column "${TEXT_COLUMN:-bio}" \
    --output_dir "${OUTPUT_DIR:-./tmp/gpt2}" \
    --bos_token '<|startoftext|>' --eos_token '<|endoftext|>' --pad_token '<|pad|>' \
    --max_seq_length 768 --batch_size 2 --learning_rate 5e-4 --num_train_epochs 5 \
    --warmup_steps 100 --sample_every 100 "$@"
