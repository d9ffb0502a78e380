#!/usr/bin/env bash
# The CoLA walk-through (docs/COLA.md): shows the data of the original release, fine-tunes on nine
# tenths of its training sentences with an evaluation on the rest after each epoch, scores the
# model on out_of_domain_dev, and shows what was saved. Run again, it resumes an unfinished run, and
# shows the end of a finished one.
# Variables: those of recipe.sh, with EPOCHS (4; 2 is often enough); OUTPUT_DIR (runs/cola)
#            SENTENCE  that the fine-tuned model classifies
# --data_dir DIR (or the variable COLA_PUBLIC_DIR): the folder of the release, cola_public or its
# raw/; without it the release is downloaded. More flags of run_glue.py may follow, such as
# --output_dir, --max_seq_length, or --seeds 1,2 (of which the first seed's model is shown).
set -euo pipefail
EPOCHS=${EPOCHS:-4}
. "$(dirname "$0")/recipe.sh"

data_dir=() more=()
set -- "${EXTRA_FLAGS[@]}" "$@"
while (($#)); do
    case $1 in
    --data_dir)
        if [[ -z ${2:-} || $2 == --* ]]; then
            echo "error: --data_dir needs a value; without the flag the release is downloaded" >&2
            exit 2
        fi
        data_dir=(--data_dir "$2") && shift 2
        ;;
    --data_dir=)
        echo "error: --data_dir needs a value; without the flag the release is downloaded" >&2
        exit 2
        ;;
    --data_dir=*) data_dir=("$1") && shift ;;
    *) more+=("$1") && shift ;;
    esac
done
walkthrough=$REPO/scripts/walkthrough.py
output=$(flag_value output_dir "${OUTPUT_DIR:-$RUNS/cola}" "${more[@]}")
model=$(flag_value model_name_or_path "$MODEL" "${more[@]}")
length=$(flag_value max_seq_length 64 "${more[@]}")
seeds=$(flag_value seeds "" "${more[@]}")
run=$output # the folder of the run that is shown
if [[ -n $seeds ]]; then
    first=${seeds%%,*}
    run=$output/seed_${first// /}
fi
flags=(--model_type bert --model_name_or_path "$MODEL"
    --validation_share 0.1 --column_names source,label,mark,sentence
    --text_column sentence --label_column label --labels 0,1
    --label_names unacceptable,acceptable --metric matthews --max_seq_length 64
    --batch_size "$BATCH_SIZE" --learning_rate "$LR" --warmup_steps 0
    --num_train_epochs "$EPOCHS" --save_strategy epoch --save_total_limit 2
    --logging_steps 20 --seed "$SEED" --n_gpu "$N_GPU" "${more[@]}")

# Before the data, which may be downloaded: check the flags, and whether the run is finished.
state=$("$PY" "$walkthrough" check "$output" "${flags[@]}")
data=$("$PY" "$walkthrough" data --model "$model" "${data_dir[@]}" --max_seq_length "$length")

shown=()
if [[ $state == finished ]]; then
    echo "$output holds a finished run"
    shown=(--epochs)
else
    mkdir -p "$output"
    again=(--resume_from_checkpoint auto)
    [[ $state != overwrite ]] || again=()
    code=0
    "${GLUE[@]}" --train_file "$data/in_domain_train.tsv" \
        --test_file "$data/out_of_domain_dev.tsv" --output_dir "$output" "${again[@]}" \
        "${flags[@]}" |
        tee -a "$output/train.log" || code=$?
    if ((code)); then
        echo "the run in $output stopped with exit code $code, see above" >&2
        exit "$code"
    fi
fi

"$PY" "$walkthrough" end "$run" --sentence "${SENTENCE:-The cat the dog chased sleeps.}" \
    "${shown[@]}"
echo "The report of the run, with the pictures: $run/report.html"
