#!/usr/bin/env bash
# Tries mistakes as a new user would make them and prints a Markdown table of what each one answers:
# docs/BAD_INPUT.md is its output. Every mistake must end with exit code 2 and one line.
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
# Nothing is downloaded: the mistakes are to be seen, not mended.
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
    local what=$1 code=0 said
    shift
    said=$("$PY" run_glue.py "$@" 2>&1 >/dev/null) || code=$?
    said=$(grep '^error: ' <<<"$said" || true)
    said=${said//"$place"/.}
    if ((code != 2)) || [[ $(wc -l <<<"$said") != 1 || -z $said ]]; then failures=$((failures + 1)); fi
    echo "| $what | \`${said//|/\\|}\` | $code |"
}
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
try "prediction without test file" "${some[@]}" --do_predict
try "evaluation with an untrained head" "${some[@]}" --do_eval
try "output folder in a file" "${some[@]}" --output_dir run_glue.py/out
mkdir -p used/model_3
try "output folder with a run" "${some[@]}" --output_dir used
try "nothing to resume there" "${some[@]}" --resume_from_checkpoint used/model_9
try "resume from half a checkpoint" "${some[@]}" --resume_from_checkpoint used/model_3 --output_dir used
try "a GPU where there is none" "${some[@]}" --device gpu
exit $((failures > 0))
