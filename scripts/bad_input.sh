#!/usr/bin/env bash
# Makes the mistakes of a new user and prints a Markdown table of the messages: docs/BAD_INPUT.md is
# its output. Every mistake must end with exit code 2 and one line.
#   bash scripts/bad_input.sh > docs/BAD_INPUT.md
# Variables: BERT_PADDLE_HOME (~/.cache/bert_paddle), where the real weights are
set -euo pipefail
. "$(dirname "$0")/environment.sh"
PY=$PY bash "$REPO/scripts/fetch_minilm.sh"
models=${BERT_PADDLE_HOME:-$HOME/.cache/bert_paddle}/models
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
ln -s "$REPO/run_glue.py" run_glue.py
ln -s "$models/all-minilm-l6-v2" minilm
unset GLUE_DATA_DIR
# Nothing is downloaded, so that missing files stay missing.
export BERT_PADDLE_HOME=$place/home http_proxy=127.0.0.1:9 https_proxy=127.0.0.1:9
mkdir -p glue/SST-2 broken/vocab broken/json broken/roberta broken/head
printf 'sentence\tlabel\na good film \t1\na dull film \t0\n' | tee glue/SST-2/train.tsv >glue/SST-2/dev.tsv

data() { # NAME printf-text: a copy of the data whose training file is the text
    mkdir -p "$1/SST-2"
    cp glue/SST-2/dev.tsv "$1/SST-2/"
    # shellcheck disable=SC2059  # the text is the format
    printf "$2" >"$1/SST-2/train.tsv"
}
data columns 'sentence\tlabel\nfine\t1\nfine\n'
data label 'sentence\tlabel\nfine\tgood\n'
data header 'text\tlabel\nfine\t1\n'
data empty ''
data only_header 'sentence\tlabel\n'
data latin 'sentence\tlabel\ncaf\xe9\t1\n'
data nul 'sentence\tlabel\nfi\x00ne\t1\n'
for kind in vocab json roberta head; do ln -s "$models"/all-minilm-l6-v2/* broken/$kind/; done
rm broken/vocab/vocab.txt broken/vocab/tokenizer.json broken/json/config.json broken/roberta/config.json
rm broken/head/model.safetensors
echo '{' >broken/json/config.json
sed 's/"bert"/"roberta"/' minilm/config.json >broken/roberta/config.json
head -c 1000 minilm/model.safetensors >broken/head/model.safetensors

failures=0
try() { # WHAT flags...: one row of the table
    local what=$1
    shift
    row "$what" run_glue.py "$@"
}
try_command() { # WHAT command flags...: the same, of bert-paddle
    local what=$1
    shift
    PYTHONPATH=$REPO row "\`$1\`: $what" -m bert_paddle "$@"
}
row() { # WHAT arguments of python...
    local what=$1 code=0 said
    shift
    said=$("$PY" "$@" 2>&1 >/dev/null </dev/null) || code=$?
    said=$(grep '^error: ' <<<"$said" || true)
    said=${said//"$place"/.}
    if ((code != 2)) || [[ $(wc -l <<<"$said") != 1 || -z $said ]]; then failures=$((failures + 1)); fi
    echo "| $what | \`${said//|/\\|}\` | $code |"
}
printf 'text,label\nfine,good\ndull,bad\n' | tee own.xlsx >own.csv
printf 'a,b,label\nfine,film,1\ndull,film,0\n' >columns.csv
printf 'text,label\nfine,1\ndull\n' >short.csv
printf '{"text": "fine", "label": 1}\n{"text": "dull", "label": 0\n' >broken.jsonl
printf 'text,label\nfine,fine\ndull,fine\n' >one.csv
printf '{"text": "fine", "label": ["film", "music"]}\n{"text": "dull", "label": ["film"]}\n' >lists.jsonl
own=(--model_name_or_path minilm --output_dir out)
some=(--task_name sst2 --model_name_or_path minilm --data_dir glue --output_dir out)

echo "# Mistakes and what they answer"
echo
echo "Made by \`bash scripts/bad_input.sh\` on $(date +%F) ($("$PY" "$REPO/scripts/make_results.py" --machine | sed 's/^# machine: //')), without a network; paths are shortened to \`.\`."
echo
echo "| mistake | answer on stderr | exit code |"
echo "|---|---|---|"
try "no flags" --task_name sst2
try "several wrong flags" "${some[@]}" --batch_size -4 --learning_rat 1 --seed x --warmup_ratio 2
try "unknown task" "${some[@]}" --task_name sst3
try "another architecture asked for" "${some[@]}" --model_type roberta
try "model folder mistyped" "${some[@]}" --model_name_or_path ./minillm
try "hub name without network" "${some[@]}" --model_name_or_path bert-base-uncased
try "unknown hub name" "${some[@]}" --model_name_or_path bert-base-unknown
try "a file as the model" "${some[@]}" --model_name_or_path minilm/config.json
try "no vocabulary" "${some[@]}" --model_name_or_path broken/vocab
try "configuration is not JSON" "${some[@]}" --model_name_or_path broken/json
try "a RoBERTa" "${some[@]}" --model_name_or_path broken/roberta
try "weights cut short" "${some[@]}" --model_name_or_path broken/head
try "wrong vocabulary" "${some[@]}" --vocab_file glue/SST-2/dev.tsv
try "rows longer than the model" "${some[@]}" --max_seq_length 1024
try "no data, no network" "${some[@]}" --task_name cola
try "row with too few columns" "${some[@]}" --data_dir columns
try "unknown label" "${some[@]}" --data_dir label
try "wrong header" "${some[@]}" --data_dir header
try "empty file" "${some[@]}" --data_dir empty
try "header only" "${some[@]}" --data_dir only_header
try "not UTF-8" "${some[@]}" --data_dir latin
try "NUL byte" "${some[@]}" --data_dir nul
try "own data: a column that is not there" "${own[@]}" --train_file own.csv --text_column body
try "own data: which column is the text" "${own[@]}" --train_file columns.csv
try "own data: row with too few fields" "${own[@]}" --train_file short.csv
try "own data: a line that is no JSON" "${own[@]}" --train_file broken.jsonl
try "own data: rows of one class" "${own[@]}" --train_file one.csv
try "own data: a label that training never had" "${own[@]}" --train_file own.csv --validation_file one.csv
try "own data: unknown ending" "${own[@]}" --train_file own.xlsx
try "own data: a score that is none" "${own[@]}" --train_file own.csv --regression
try "own data: lists of labels without --multi_label" "${own[@]}" --train_file lists.jsonl
try "own data: a threshold beyond 1" "${own[@]}" --train_file lists.jsonl --multi_label --threshold 1.5
try "own data: a threshold for one class per row" "${own[@]}" --train_file own.csv --threshold 0.4
try "own data: a class weight for an unknown class" "${own[@]}" --train_file own.csv --class_weights good=1,poor=3
try "own data and a task" "${some[@]}" --train_file own.csv
try "a class weight for an unknown class" "${some[@]}" --class_weights positive=1,neutral=3
try "more frozen and re-drawn layers than there are" "${some[@]}" --freeze_layers 7 --reinit_layers 8
try "a layer both frozen and drawn anew" "${some[@]}" --freeze_layers 5 --reinit_layers 2
try "layers drawn anew without training" "${some[@]}" --do_eval --reinit_layers 2 --class_weights balanced
try "a seed given twice" "${some[@]}" --seeds 1,2,1
try "own data: a model without a classifier" "${own[@]}" --test_file own.csv
try "prediction without test file" "${some[@]}" --do_predict
try "evaluation with an untrained head" "${some[@]}" --do_eval
try "output folder in a file" "${some[@]}" --output_dir run_glue.py/out
mkdir -p used/model_3
try "output folder with a run" "${some[@]}" --output_dir used
try "nothing to resume there" "${some[@]}" --resume_from_checkpoint used/model_9
try "resume from half a checkpoint" "${some[@]}" --resume_from_checkpoint used/model_3 --output_dir used
try "a GPU where there is none" "${some[@]}" --device gpu

mkdir -p half/predictions demo/predictions short/predictions
printf 'task_name: sst2\nlearning_rat: 1\nseed: [1, 2]\n' >wrong.yaml
: >empty.yaml
echo 'seed: 1: 2' >broken.yaml
printf 'index\tprediction\n0\t1\n' | tee half/predictions/CoLA.tsv demo/predictions/CoLA.tsv >short/predictions/RTE.tsv
echo '{"data": "demo"}' >demo/all_results.json
mkdir -p whole/predictions
{ printf 'index\tprediction\n' && seq 0 145 | sed 's/$/\t1/'; } >whole/predictions/WNLI.tsv
echo '{"data": "glue"}' | tee whole/all_results.json >short/all_results.json
: >empty.zip
"$PY" -c 'import zipfile; zipfile.ZipFile("other.zip", "w").writestr("sub/CoLA.tsv", "id,label")'
try_command "mistyped" submision
try_command "settings with mistakes" glue "${some[@]}" --config wrong.yaml
try_command "settings that are not there" glue "${some[@]}" --config none.yaml
try_command "settings that are empty" glue "${some[@]}" --config empty.yaml
try_command "settings that are no YAML" glue "${some[@]}" --config broken.yaml
try_command "no such folder" predict ./none "a text"
try_command "a folder that is no model's" predict glue "a text"
try_command "a half-written run" predict used "a text"
try_command "a model without a classifier" predict minilm "a text"
try_command "weights cut short" predict broken/head "a text"
try_command "nothing on stdin" predict minilm
try_command "a threshold beyond 1" predict minilm "a text" --threshold 0.5,1.5
try_command "no such folder, no run, a half-written run, demo data, too few rows" submission none glue half demo short -o s.zip
try_command "tasks missing" submission whole -o s.zip
try_command "no zip to write" submission whole
try_command "an empty file" submission --check empty.zip
try_command "no zip" submission --check wrong.yaml
try_command "a zip that is none of GLUE's" submission --check other.zip
try_command "unknown shell" completion fish
try_command "no such folder" report ./none
try_command "a folder that is no run's" report glue
try_command "a half-written run" report used/model_3
try_command "a folder as its file" report whole -o glue
try_command "a folder that is no model's" export glue --format hf
try_command "a half-written checkpoint" export used/model_3 --format onnx
try_command "an unknown format" export minilm --format tflite
try_command "a folder that holds something else" export minilm --format hf -o glue
try_command "mistyped flag and bad value" sweep --output_dir grid learning_rat=1,2 batch_size=0 -- "${some[@]}"
try_command "no such grid" sweep --output_dir grid --grid none.yaml -- "${some[@]}"
swept=(--task_name sst2 --model_name_or_path minilm --data_dir glue)
try_command "more frozen layers than there are" sweep --output_dir grid freeze_layers=2,7 -- "${swept[@]}"
try_command "a model that is not there" sweep --output_dir grid seed=1,2 -- "${swept[@]}" --model_name_or_path ./minillm
benchmark=(--model_name_or_path minilm --data_dir glue --output_dir bench)
mkdir -p bench/SST-2/seed_42 run_a run_b run_c
PYTHONPATH=$REPO "$PY" - <<'END'
import json
from pathlib import Path

from bert_paddle.sweep.benchmark import args, plan
from bert_paddle.common import flags

words = "--model_name_or_path bert-base-uncased --data_dir glue --output_dir bench --tasks sst2"
[run] = plan.plan_benchmark(flags.parse(args.BenchmarkArgs, "", words.split())).runs
results = {"task": "SST-2", "data": "demo", "eval_accuracy": 0.9}
Path("bench/SST-2/seed_42/all_results.json").write_text(json.dumps(results))
info = {"settings": run.args.as_dict(), "data": "glue", "finished": "now"}
Path("bench/SST-2/seed_42/run.json").write_text(json.dumps(info))
for folder, task, texts in (("a", "RTE", "xy"), ("b", "MRPC", "xy"), ("c", "RTE", "xz")):
    Path(f"run_{folder}/all_results.json").write_text(json.dumps(results | {"task": task}))
    rows = [{"text_a": text, "label": "no", "prediction": "no"} for text in texts]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    Path(f"run_{folder}/dev_predictions.jsonl").write_text(lines)
END
try_command "unknown task, a seed given twice" glue-benchmark "${benchmark[@]}" --tasks sst3 --seeds 1,1
try_command "more frozen layers than there are" glue-benchmark "${benchmark[@]}" --tasks sst2 --freeze_layers 7
try_command "a folder with the benchmark of another model" glue-benchmark "${benchmark[@]}" --tasks sst2
try_command "runs of two tasks" compare run_a run_b
try_command "runs with different rows" compare run_a run_c
try_command "a folder that is no run's" compare run_a glue
mkdir -p shards none_here
: >shards/c_training_0.hdf5
pretrain=(--model_name_or_path bert-base-uncased --output_dir pretrained)
try_command "no shards" pretrain "${pretrain[@]}" --input_dir none_here
try_command "a shard that is none" pretrain "${pretrain[@]}" --input_dir shards
shards_of() { # FOLDER flags of create-data...
    local made=$1
    shift
    printf 'a good film\nthe cast is fine\n\na dull film\nthe plot is poor\n' >documents.txt
    PYTHONPATH=$REPO "$PY" -m bert_paddle create-data --input_files documents.txt --vocab_file minilm/vocab.txt \
        --output_dir "$made" "$@" >/dev/null 2>&1
}
shards_of singles --nsp 0
try_command "shards of \`create-data --nsp 0\`" pretrain "${pretrain[@]}" --input_dir singles
shards_of unmasked --dynamic_masking 1
try_command "shards without masks" pretrain "${pretrain[@]}" --input_dir unmasked
try_command "no such text" create-data --input_files none.txt --vocab_file minilm/vocab.txt --output_dir made
try_command "empty text" create-data --input_files empty.yaml --vocab_file minilm/vocab.txt --output_dir made
exit $((failures > 0))
