#!/usr/bin/env bash
# Fine-tunes a real pretrained model, all-MiniLM-L6-v2, on SST-2 in a few minutes on two CPU cores:
# makes the environment, fetches the weights and the data, trains and evaluates. If SST-2 is neither
# here nor can be downloaded, it takes a demo set of invented sentences, and says so.
# Run again, it shows the finished run. More flags of run_glue.py may follow.
# Variables: QUICKSTART_DIR (runs/quickstart)  folder of the run; another name makes a new run
#            DATA_DIR, GLUE_DATA_DIR  where GLUE's files are; DEMO=1 takes the demo set in any case
#            BERT_PADDLE_HOME (~/.cache/bert_paddle), and those of recipe.sh but MODEL and EPOCHS
set -euo pipefail
MODEL=all-minilm-l6-v2
. "$(dirname "$0")/recipe.sh"
home=${BERT_PADDLE_HOME:-$HOME/.cache/bert_paddle}

show() { # folder of a finished run
    echo
    echo "result:   $(grep -E '^(eval loss|tables:)' "$1/train.log" | tail -n 1)"
    echo "written:  $1: model_<step>/ (weights, vocabulary), all_results.json, metrics.jsonl,"
    echo "          train.log"
    if grep -q '"data": "demo"' "$1/all_results.json"; then
        echo "note:     measured on invented demo sentences: it shows that all works, but is no SST-2 result"
        echo "next:     QUICKSTART_DIR=$RUNS/quick2 GLUE_DATA_DIR=FOLDER bash scripts/quickstart.sh"
        echo "            the same on SST-2, where FOLDER/SST-2 has GLUE's train.tsv and dev.tsv"
    else
        echo "next:     MODEL=$MODEL bash scripts/sst2.sh"
        echo "            three epochs on all of SST-2"
        echo "          QUICKSTART_DIR=$RUNS/another bash scripts/quickstart.sh"
        echo "            this run once more"
    fi
    echo "          .venv/bin/python run_glue.py --help"
    echo "            every flag"
}

given=$(flag_value output_dir "" "${EXTRA_FLAGS[@]}" "$@")
folder=${given:-${QUICKSTART_DIR:-$RUNS/quickstart}}
DATA_DIR=$(flag_value data_dir "${DATA_DIR:-}" "${EXTRA_FLAGS[@]}" "$@")
first=$folder number=1
while [[ -e $folder ]]; do
    if [[ -f $folder/all_results.json ]]; then
        echo "$folder holds a finished run:"
        show "$folder"
        exit 0
    fi
    if [[ -n $given ]]; then break; fi # run_glue.py says what is in it, or resumes
    number=$((number + 1))
    folder=$first-$number # the one before is unfinished, or running: it is left alone
done

find_sst2() { # prints the folder and its rows; fails where there is none
    if [[ -n ${DATA_DIR:-} ]]; then
        "$PY" "$REPO/scripts/find_data.py" SST-2 --data_dir "$DATA_DIR"
    else
        "$PY" "$REPO/scripts/find_data.py" SST-2 --download --seconds 120 2>/dev/null
    fi
}

found=""
if [[ ${DEMO:-0} != 1 ]]; then
    found=$(find_sst2) || [[ -z ${DATA_DIR:-} ]] || exit 2 # a folder that was named must have it
fi
if [[ -n $found ]]; then
    data=${found%$'\t'*}
    length=(--max_steps 200)
    echo "data: SST-2 in $data; 200 of the 6,315 steps of a full run"
else
    data=$home/demo/SST-2
    length=(--num_train_epochs 4)
    "$PY" "$REPO/scripts/make_demo_data.py" "$data"
    [[ ${DEMO:-0} == 1 ]] || echo "data: SST-2 is not here and cannot be downloaded"
    echo "data: taking the demo set of invented sentences in $data"
fi

mkdir -p "$folder"
code=0
"${GLUE[@]}" --model_type bert --model_name_or_path "$MODEL" --task_name SST-2 \
    --data_dir "$data" --max_seq_length 128 --batch_size "$BATCH_SIZE" --learning_rate "$LR" \
    "${length[@]}" --logging_steps 20 --save_steps 100 --seed "$SEED" --output_dir "$folder" \
    --n_gpu "$N_GPU" "${EXTRA_FLAGS[@]}" "$@" | tee "$folder/train.log" || code=$?
if ((code)); then
    echo "the run in $folder stopped with exit code $code, see above" >&2
    exit "$code"
fi
show "$folder"
echo "took:     $((SECONDS / 60)) min $((SECONDS % 60)) s in all"
