#!/usr/bin/env bash
# For sourcing, after recipe.sh: `fine_tune TASK FOLDER [flags]` runs one task of several, so that a
# long series can be interrupted and resumed, and one failing task does not end it.
#   if FOLDER/all_results.json exists: the task is finished, and skipped
#   otherwise: resumes from FOLDER's newest checkpoint, or starts; stdout goes to FOLDER.log, which
#   starts with the command, the versions and the machine (make_results.py reads them)
# `end_of_series` exits with the first failure's code. An interruption (130, 143) ends the series.
set -euo pipefail
first_failure=0
failed=()

fine_tune() { # TASK FOLDER [flags]
    local task=$1 folder=$2 code=0
    shift 2
    if [[ -f $folder/all_results.json ]]; then
        echo "$task: finished before, see $folder"
        return
    fi
    local command=(--model_type bert --model_name_or_path "$MODEL" --task_name "$task"
        --max_seq_length 128 --batch_size "$BATCH_SIZE" --learning_rate "$LR"
        --num_train_epochs "$EPOCHS" --seed "$SEED" --n_gpu "$N_GPU"
        --resume_from_checkpoint auto "$@" "${EXTRA_FLAGS[@]}" --output_dir "$folder")
    run_logged "$task" "$folder.log" "${command[@]}" || code=$?
    note_failure "$task" "$folder.log" "$code"
}

run_logged() { # TASK LOG [flags]
    local task=$1 log=$2
    shift 2
    echo "$task: running, output in $log"
    mkdir -p "$(dirname "$log")"
    {
        echo "# command: python -u run_glue.py$(printf ' %q' "$@")"
        "$PY" "$REPO/scripts/make_results.py" --machine
    } >>"$log"
    "${GLUE[@]}" "$@" >>"$log" || return $?
    echo "$task: finished; $(grep '^eval loss' "$log" | tail -n 1)"
}

note_failure() { # TASK LOG exit code
    case $3 in
        0) ;;
        130 | 143) exit "$3" ;;
        *)
            echo "$1: stopped with exit code $3, see above and $2" >&2
            failed+=("$1")
            if ((first_failure == 0)); then first_failure=$3; fi
            ;;
    esac
}

end_of_series() {
    if ((first_failure)); then
        echo "not finished: ${failed[*]}; the same command tries them again" >&2
    fi
    exit "$first_failure"
}
