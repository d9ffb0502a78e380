#!/usr/bin/env bash
# Fine-tunes MRPC with the packaged weights, once for each seed, as benchmarks/peers/hf_trainer_glue.py
# does with transformers' Trainer: batch 32, lr 2e-5, 3 epochs, length 128, no warm-up, clip 1.0.
# Finished seeds are kept; `python -m benchmarks.compare_mrpc` sets both beside each other.
#   SEEDS="1 2 3"  OUT=runs/mrpc_seeds  bash benchmarks/mrpc_seeds.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for seed in ${SEEDS:-1 2 3}; do
    out="${OUT:-runs/mrpc_seeds}/seed_$seed"
    [[ -f $out/all_results.json ]] && continue
    .venv/bin/python -u run_glue.py --task_name MRPC --model_name_or_path all-minilm-l6-v2 \
        --max_seq_length 128 --batch_size 32 --learning_rate 2e-5 --num_train_epochs 3 \
        --logging_steps 20 --save_steps 1000 --save_total_limit 1 --seed "$seed" \
        --resume_from_checkpoint auto --output_dir "$out" "$@"
done
