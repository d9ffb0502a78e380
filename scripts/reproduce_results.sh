#!/usr/bin/env bash
# Produces the results of docs/RESULTS.md: each task 3 epochs, batch 32, learning rate 2e-5, length
# 128, evaluated after every epoch. Takes hours on a CPU; run again, it skips finished tasks
# and resumes the others. The tables are rewritten after every task.
# Variables: those of recipe.sh, but MODEL is all-minilm-l6-v2 here; TASKS (MRPC CoLA RTE STS-B
#            SST-2 QNLI), RESULTS_DIR (runs/results: runs go to its <model>/<task>),
#            RESULTS_FILE (docs/RESULTS.md)
set -euo pipefail
MODEL=${MODEL:-all-minilm-l6-v2}
. "$(dirname "$0")/recipe.sh"
. "$(dirname "$0")/several_tasks.sh"

results=$(flag_value output_dir "${RESULTS_DIR:-$RUNS/results}" "$@" "${EXTRA_FLAGS[@]}")
model_name=$(basename "$(flag_value model_name_or_path "$MODEL" "$@" "${EXTRA_FLAGS[@]}")")
batch_size=$(flag_value batch_size "$BATCH_SIZE" "$@" "${EXTRA_FLAGS[@]}")
read -ra tasks <<<"${TASKS:-MRPC CoLA RTE STS-B SST-2 QNLI}"
for task in "${tasks[@]}"; do
    code=0
    found=$("$PY" "$REPO/scripts/find_data.py" "$task" --download) || code=$?
    if ((code)); then
        note_failure "$task" "the line before" "$code"
        continue
    fi
    steps_per_epoch=$(((${found##*$'\t'} + batch_size - 1) / batch_size))
    fine_tune "$task" "$results/$model_name/$task" --logging_steps 50 \
        --save_steps "$steps_per_epoch" --save_total_limit 1 "$@"
    "$PY" "$REPO/scripts/make_results.py" "$results" \
        --to "${RESULTS_FILE:-$REPO/docs/RESULTS.md}"
done
end_of_series
