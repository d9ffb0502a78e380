#!/usr/bin/env bash
# A real small pre-training, as docs/RESULTS.md shows it: text -> shards of length 64 -> 4 layers x 256
# for one or two hours on a CPU core -> fine-tuned on MRPC and on the first 10,000 rows of SST-2 over
# three seeds, compared with the same architecture without pre-training. Run again, it resumes.
# Variables: TEXT_DIR (needed)  folder with pd_en/ (one sentence a line) and novels/ (prose)
#            GLUE_DATA_DIR (needed), STEPS (3000), SEEDS (1 2 3)
#            BERT_PADDLE_HOME (~/.cache/bert_paddle)
#            RESULTS_DIR (runs/pretraining), PRETRAINING_FILE (docs/PRETRAINING_RESULTS.md), N_GPU (0)
set -euo pipefail
MODEL=all-minilm-l6-v2 # for its vocabulary, that of bert-base-uncased
N_GPU=${N_GPU:-0}
if (($#)); then
    echo "error: this script takes no flags, only the variables at its beginning: $*" >&2
    exit 2
fi
. "$(dirname "$0")/recipe.sh"

home=${BERT_PADDLE_HOME:-$HOME/.cache/bert_paddle}
results=${RESULTS_DIR:-$RUNS/pretraining}
steps=${STEPS:-3000}
config=$REPO/benchmarks/pretraining/bert_4x256.json
for name in TEXT_DIR GLUE_DATA_DIR; do
    if [[ ! -d ${!name:-} ]]; then
        echo "error: $name=${!name:-} is not a folder" >&2
        exit 2
    fi
done
mkdir -p "$results"

make_shards() { # corpus, form, share held out
    "$PY" "$REPO/scripts/create_pretraining_data.py" --input_files "$TEXT_DIR/$1" --corpus_name "$1" \
        --form "$2" --test_share "$3" --vocab_file "$home/models/$MODEL/vocab.txt" \
        --output_dir "$results/shards" --max_seq_length 64 --max_predictions_per_seq 10
}
pretrain() { # output folder, flags
    local output=$1
    shift
    [[ -f $output/all_results.json ]] ||
        "$PY" -u "$REPO/run_pretrain.py" --model_name_or_path "$config" --output_dir "$output" \
            --input_dir "$results/shards" --batch_size 32 --max_predictions_per_seq 10 \
            --learning_rate 7e-4 --weight_decay 0.01 --adam_epsilon 1e-6 --eval_batch_size 64 \
            --max_eval_samples 2048 --n_gpu "$N_GPU" --resume_from_checkpoint auto "$@" |
        tee -a "$output.log"
}
fine_tune() { # what it is called, model, task, data folder, seed
    local output=$results/tuned/$1_$3_$5
    [[ -f $output/all_results.json ]] ||
        "$PY" -u "$REPO/run_glue.py" --model_name_or_path "$2" --task_name "$3" --data_dir "$4" \
            --max_seq_length 64 --batch_size 32 --learning_rate 1e-4 --num_train_epochs 2 \
            --warmup_ratio 0.1 --logging_steps 50 --save_steps 100000 --save_total_limit 1 \
            --output_dir "$output" --n_gpu "$N_GPU" --seed "$5" --resume_from_checkpoint auto
}

make_shards pd_en lines 0.02
make_shards novels prose 0.04
pretrain "$results/pretrained" --max_steps "$steps" --warmup_ratio 0.1 --logging_steps 25 \
    --save_steps 250 --save_total_limit 2
# The first step of a warm-up has learning rate 0: this saves the initial weights.
pretrain "$results/untrained" --max_steps 1 --warmup_steps 1 --do_eval 0

part=$results/sst2_10000/SST-2
if [[ ! -f $part/dev.tsv ]]; then
    mkdir -p "$part"
    head -n 10001 "$GLUE_DATA_DIR/SST-2/train.tsv" >"$part/train.tsv"
    cp "$GLUE_DATA_DIR/SST-2/dev.tsv" "$part/dev.tsv"
fi
for seed in ${SEEDS:-1 2 3}; do
    for kind in "pretrained $results/pretrained/model_$steps" "untrained $results/untrained/model_1"; do
        read -r name model <<<"$kind"
        fine_tune "$name" "$model" SST-2 "$results/sst2_10000" "$seed"
        fine_tune "$name" "$model" MRPC "$GLUE_DATA_DIR" "$seed"
    done
done
"$PY" "$REPO/benchmarks/pretraining/short_summary.py" "$results" \
    --to "${PRETRAINING_FILE:-$REPO/docs/PRETRAINING_RESULTS.md}"
