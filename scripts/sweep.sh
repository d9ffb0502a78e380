#!/usr/bin/env bash
# Fine-tunes with every combination of a grid of settings and ranks the runs by the task's metric.
# By default the grid of the BERT paper on MRPC: 18 runs for each seed. Started again, it runs what
# is not finished. The tables are sweep.md and sweep.csv in OUTPUT_DIR.
# Variables: those of recipe.sh, used where the grid says nothing else; TASK (MRPC),
#            GRID (bert_paper; or a file such as scripts/sweeps/learning_rates.yaml; with words
#            FLAG=A,B there is none by default), SEEDS (SEED alone; or 1,2,3), PARALLEL (one run per
#            GPU, one at a time on the CPU), SAVE_TOTAL_LIMIT (1), OUTPUT_DIR (runs/sweeps/TASK)
#   bash scripts/sweep.sh learning_rate=2e-5,3e-5 batch_size=16,32
# Behind a lone -- may follow more flags of run_glue.py.
set -euo pipefail
. "$(dirname "$0")/recipe.sh"

words=()
while (($#)) && [[ $1 != -- ]]; do
    words+=("$1")
    shift
done
if (($#)); then shift; fi

task=${TASK:-MRPC}
grid=${GRID:-}
if [[ -z $grid ]] && ((${#words[@]} == 0)); then grid=bert_paper; fi
export PYTHONPATH=$REPO${PYTHONPATH:+:$PYTHONPATH}
exec "$PY" -m bert_paddle sweep --output_dir "${OUTPUT_DIR:-$RUNS/sweeps/$task}" \
    ${grid:+--grid "$grid"} ${SEEDS:+--seeds "$SEEDS"} --parallel "${PARALLEL:--1}" "${words[@]}" -- \
    --model_type bert --model_name_or_path "$MODEL" --task_name "$task" --max_seq_length 128 \
    --batch_size "$BATCH_SIZE" --learning_rate "$LR" --num_train_epochs "$EPOCHS" --seed "$SEED" \
    --n_gpu "$N_GPU" --save_total_limit "${SAVE_TOTAL_LIMIT:-1}" "${EXTRA_FLAGS[@]}" "$@"
