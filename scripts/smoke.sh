#!/usr/bin/env bash
# Trains, resumes, pre-trains, predicts, generates and reports with the oldest and the newest Python that can
# be had here and that Paddle has wheels for, on invented data and a tiny model; the weights must be
# equal to the last bit for all of them. Each Python gets an environment of its own, .venv-smoke-X.
#   bash scripts/smoke.sh [PYTHON...]     default: the lowest and the highest of 3.10 to 3.13
# Exit code 1: something failed. A version that is not here, or that cannot be installed for want of
# a network, is skipped with the reason.
# Variables: SMOKE_DIR  where it works (default: a temporary folder, deleted at the end)
set -euo pipefail
unset PYTHONDONTWRITEBYTECODE # containers often set it: each process would compile its imports anew
repo=$(cd "$(dirname "$0")/.." && pwd)
cd "$repo"

version() { # a python: prints its version if it starts and has wheels of Paddle
    "$1" -c 'import sys
v = sys.version_info[:2]
print("%d.%d" % v) if (3, 10) <= v <= (3, 13) else sys.exit(1)' 2>/dev/null
}

find_pythons() { # prints the lowest and the highest
    local minor candidate all=()
    for minor in 10 11 12 13; do
        for candidate in "python3.$minor" "$HOME/.pyenv/versions/3.$minor".*/bin/python \
            "$(uv python find --no-project "3.$minor" 2>/dev/null || true)"; do
            if [[ -n $candidate && $(version "$candidate") == "3.$minor" ]]; then
                all+=("$candidate")
                break
            fi
        done
    done
    ((${#all[@]})) || return 0
    echo "${all[0]}"
    if ((${#all[@]} > 1)); then echo "${all[${#all[@]} - 1]}"; fi
}

work=${SMOKE_DIR:-}
[[ -z $work ]] || mkdir -p "$work"
if [[ -z $work ]]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi

make_environment() { # python, folder: false where it cannot be made
    local log=$2.log
    if [[ -f $2/complete ]] && cmp -s "$2/complete" requirements-lock.txt; then return; fi
    rm -rf "$2"
    if command -v uv >/dev/null; then
        uv venv --quiet --no-project --python "$1" "$2" >"$log" 2>&1 &&
            uv pip install --quiet --python "$2/bin/python" --no-deps --require-hashes \
                -r requirements-lock.txt -r requirements-cpu.txt >>"$log" 2>&1 || return 1
    else
        "$1" -m venv "$2" >"$log" 2>&1 &&
            "$2/bin/python" -m pip install --quiet --no-deps --require-hashes \
                -r requirements-lock.txt -r requirements-cpu.txt >>"$log" 2>&1 || return 1
    fi
    cp requirements-lock.txt "$2/complete"
}

smoke() { # python, folder: prints the digests of the final weights
    local py=$1 to=$2 train
    mkdir -p "$to"
    rm -rf "${to:?}"/*
    "$py" scripts/make_demo_text.py "$to/text"
    "$py" scripts/make_demo_data.py "$to/data/SST-2"
    "$py" scripts/train_vocab.py --input_files "$to/text" --vocab_size 400 --output_dir "$to/vocab"
    "$py" scripts/create_pretraining_data.py --input_files "$to/text" --corpus_name demo \
        --vocab_file "$to/vocab" --output_dir "$to/shards" --max_seq_length 32 \
        --max_predictions_per_seq 5 --dupe_factor 1 --test_share 0.05
    train=("$py" -u run_pretrain.py --model_name_or_path bert-base-uncased --num_hidden_layers 2
        --hidden_size 64 --vocab_size 400 --input_dir "$to/shards" --output_dir "$to/pretrained"
        --batch_size 8 --learning_rate 1e-3 --max_steps 20 --save_steps 10 --n_gpu 0 --report 0)
    "${train[@]}"
    train=("$py" -u run_glue.py --task_name SST-2 --data_dir "$to/data" --max_seq_length 32
        --model_name_or_path "$to/pretrained/model_20" --batch_size 8 --max_steps 20
        --save_steps 10 --n_gpu 0 --learning_rate 1e-3 --report 0)
    "${train[@]}" --output_dir "$to/tuned"
    # The same from its checkpoint at step 10.
    cp -r "$to/tuned" "$to/resumed"
    rm -r "$to/resumed/model_20" "$to/resumed/all_results.json"
    "${train[@]}" --output_dir "$to/resumed" --resume_from_checkpoint auto
    cmp "$to/tuned/model_20/model.safetensors" "$to/resumed/model_20/model.safetensors"
    "$py" -m bert_paddle predict "$to/tuned/model_20" "a fine day" >"$to/predicted"
    "$py" scripts/make_demo_bios.py "$to/bios.csv" 60
    "$py" scripts/train_vocab.py --kind bpe --input_files "$to/text" --vocab_size 400 \
        --output_dir "$to/bpe"
    "$py" -u run_clm.py --model_name_or_path gpt2 --random_weights --hidden_size 64 \
        --num_hidden_layers 2 --max_position_embeddings 64 --vocab_file "$to/bpe/vocab.json" \
        --train_file "$to/bios.csv" --text_column bio --batch_size 8 --max_steps 20 \
        --sample_every 10 --sample_length 10 --n_gpu 0 --output_dir "$to/texts"
    "$py" -m bert_paddle generate "$to/texts/model_20" --prompt "She" --max_new_tokens 5 \
        >"$to/generated"
    "$py" -m bert_paddle report "$to/tuned" -o "$to/report.html"
    [[ -s $to/report.html && -s $to/predicted && -s $to/generated ]]
    "$py" -c 'import hashlib, pathlib, sys
for name in sys.argv[2:]:
    weights = pathlib.Path(sys.argv[1], name, "model_20", "model.safetensors").read_bytes()
    print(name, hashlib.sha256(weights).hexdigest())' "$to" pretrained tuned texts >"$to/digests"
}

pythons=("$@")
if ((!$#)); then
    while read -r found; do pythons+=("$found"); done < <(find_pythons)
fi
((${#pythons[@]})) || { echo "smoke: skipped: no Python 3.10 to 3.13 is here"; exit 0; }
# One thread each, as they run side by side; in the background also because in a condition errexit
# would be off inside.
export OMP_NUM_THREADS=1
code=0 first="" names=() jobs=()
for python in "${pythons[@]}"; do
    name=$(version "$python") || { echo "smoke: skipped: $python is no Python 3.10 to 3.13"; continue; }
    venv=$repo/.venv-smoke-$name
    if ! make_environment "$python" "$venv"; then
        echo "smoke: Python $name: skipped: its packages cannot be installed ($venv.log has why)"
        continue
    fi
    smoke "$venv/bin/python" "$work/$name" >"$work/$name.log" 2>&1 &
    names+=("$name") jobs+=("$!")
done
for i in "${!names[@]}"; do
    name=${names[i]}
    if ! wait "${jobs[i]}"; then
        tail -n 20 "$work/$name.log"
        echo "smoke: Python $name: failed"
        code=1
        continue
    fi
    first=${first:-$work/$name/digests}
    if cmp -s "$first" "$work/$name/digests"; then
        echo "smoke: Python $name: trained, resumed, pre-trained, predicted and reported;" \
            "weights $(tr '\n' ' ' <"$work/$name/digests" | sed -E 's/([0-9a-f]{12})[0-9a-f]+/\1/g')"
    else
        echo "smoke: Python $name: other weights than with the first Python: $work/$name"
        trap - EXIT
        code=1
    fi
done
exit "$code"
