#!/usr/bin/env bash
# From text to a fine-tuned model in a few minutes on two CPU cores: a small invented text -> a
# vocabulary -> shards -> a tiny BERT pre-trained on them -> fine-tuned on the demo set, compared with
# the same model without pre-training. The data is invented: the results only show that it works.
# Run again, it resumes; a finished run is shown.
# Variables: QUICKSTART_DIR (runs/pretrain_quickstart), STEPS (400, of pre-training)
set -euo pipefail
MODEL=tiny
if (($#)); then
    echo "error: this script takes no flags, only the variables at its beginning: $*" >&2
    exit 2
fi
. "$(dirname "$0")/recipe.sh"

folder=${QUICKSTART_DIR:-$RUNS/pretrain_quickstart}
mkdir -p "$folder"

step() { echo "== $*" >&2; }

step "text and demo set"
"$PY" "$REPO/scripts/make_demo_text.py" "$folder/text"
"$PY" "$REPO/scripts/make_demo_data.py" "$folder/demo/SST-2"
step "vocabulary"
if [[ ! -f $folder/vocab/vocab.txt ]]; then
    "$PY" "$REPO/scripts/train_vocab.py" --input_files "$folder/text" --vocab_size 600 \
        --output_dir "$folder/vocab"
fi
step "shards"
"$PY" "$REPO/scripts/create_pretraining_data.py" --input_files "$folder/text" --corpus_name demo \
    --vocab_file "$folder/vocab" --output_dir "$folder/shards" --max_seq_length 64 \
    --max_predictions_per_seq 10 --dupe_factor 10 --test_share 0.05

pretrain() { # output folder, flags
    local output=$1
    shift
    if [[ ! -f $output/all_results.json ]]; then
        "$PY" -u "$REPO/run_pretrain.py" --model_type bert --model_name_or_path bert-base-uncased \
            --num_hidden_layers 2 --hidden_size 128 --vocab_size 600 --input_dir "$folder/shards" \
            --output_dir "$output" --max_predictions_per_seq 10 --batch_size 32 \
            --learning_rate 1e-3 --num_train_epochs 1e5 --n_gpu "$N_GPU" --seed "$SEED" \
            --resume_from_checkpoint auto "$@"
    fi
}
fine_tune() { # model, output folder
    if [[ ! -f $2/all_results.json ]]; then
        "$PY" -u "$REPO/run_glue.py" --model_name_or_path "$1" --task_name SST-2 \
            --data_dir "$folder/demo" --max_seq_length 32 --batch_size 32 --learning_rate 5e-4 \
            --num_train_epochs 3 --logging_steps 50 --output_dir "$2" --n_gpu "$N_GPU" \
            --seed "$SEED" --resume_from_checkpoint auto
    fi
}

steps=${STEPS:-400}
step "pre-training, $steps updates"
pretrain "$folder/pretrained" --max_steps "$steps" --warmup_steps $((steps / 10)) \
    --logging_steps 50 --save_steps $((steps / 2))
step "the same model untrained: one update at the rate 0 with which a warm-up begins"
pretrain "$folder/untrained" --max_steps 1 --warmup_steps 1 --do_eval 0
step "fine-tuning both on the demo set"
fine_tune "$folder/pretrained/model_$steps" "$folder/tuned"
fine_tune "$folder/untrained/model_1" "$folder/tuned_untrained"

"$PY" - "$folder" <<'PYTHON'
import json
import sys
from pathlib import Path

folder = Path(sys.argv[1])


def value(run: str, name: str) -> float:
    return json.loads((folder / run / "all_results.json").read_text())[name]


print()
print(f"held-out words:    {value('pretrained', 'eval_mlm_accuracy'):.1%} right, perplexity "
      f"{value('pretrained', 'eval_perplexity'):.1f}")
print(f"held-out pairs:    {value('pretrained', 'eval_nsp_accuracy'):.1%} right")
print(f"demo accuracy:     {value('tuned', 'eval_accuracy'):.1%} fine-tuned from this model, "
      f"{value('tuned_untrained', 'eval_accuracy'):.1%} from the same untrained")
print(f"written:           {folder}/: text, vocab, shards, pretrained, tuned")
PYTHON
echo "next:              scripts/create_pretraining_data.py makes shards of your own text,"
echo "                   scripts/pretrain.sh trains on them"
echo "took:              $((SECONDS / 60)) min $((SECONDS % 60)) s in all"
