#!/usr/bin/env bash
# Fine-tunes BERT on the nine GLUE tasks one after another, then predicts AX with the MNLI
# model if AX's file is found. Run again, it skips finished tasks and resumes the others; a task
# whose data is not available is reported and skipped.
# Variables: those of recipe.sh; TASKS (the nine names), OUTPUT_DIR (runs/all_tasks),
#            SAVE_STEPS (500)
# More flags may follow, for every task: bash scripts/all_tasks.sh --max_steps 100
set -euo pipefail
. "$(dirname "$0")/recipe.sh"
. "$(dirname "$0")/several_tasks.sh"

output=$(flag_value output_dir "${OUTPUT_DIR:-$RUNS/all_tasks}" "$@" "${EXTRA_FLAGS[@]}")
length=$(flag_value max_seq_length 128 "$@" "${EXTRA_FLAGS[@]}")
read -ra tasks <<<"${TASKS:-CoLA SST-2 MRPC STS-B QQP MNLI QNLI RTE WNLI}"
for task in "${tasks[@]}"; do
    fine_tune "$task" "$output/$task" --logging_steps 100 --save_steps "${SAVE_STEPS:-500}" \
        --save_total_limit 1 "$@"
done

if [[ -f $output/MNLI/all_results.json && ! -f $output/AX/predictions/AX.tsv ]]; then
    mnli=$(find "$output/MNLI" -maxdepth 2 -regex '.*/model_[0-9]+' | sort -V | tail -n 1)
    if "$PY" "$REPO/scripts/find_data.py" AX --download >/dev/null 2>&1; then
        code=0
        run_logged AX "$output/AX.log" --model_type bert --model_name_or_path "$mnli" \
            --task_name AX --max_seq_length "$length" --output_dir "$output/AX" --n_gpu "$N_GPU" \
            --do_predict || code=$?
        note_failure AX "$output/AX.log" "$code"
    else
        echo "AX: its file is not available, so there are no predictions for it"
    fi
fi
end_of_series
