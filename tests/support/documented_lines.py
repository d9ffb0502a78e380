"""The command lines that README documents; people have them in scripts."""

COMMAND_A = """
export CUDA_VISIBLE_DEVICES=0,1
export TASK_NAME=SST-2
python -u ./run_glue.py --model_type bert --model_name_or_path bert-base-uncased --task_name $TASK_NAME \\
    --max_seq_length 128 --batch_size 32 --learning_rate 2e-5 --num_train_epochs 3 \\
    --logging_steps 1 --save_steps 500 --output_dir ./tmp/$TASK_NAME/ --n_gpu 1
"""  # noqa: E501
COMMAND_B = """
python -u ./run_pretrain.py --model_type bert --model_name_or_path bert-base-uncased \\
    --max_predictions_per_seq 20 --batch_size 32 --learning_rate 1e-4 --weight_decay 1e-2 --adam_epsilon 1e-6 \\
    --warmup_steps 10000 --num_train_epochs 1e5 --input_dir $DATA_DIR --output_dir ./tmp2/ \\
    --logging_steps 1 --save_steps 20000 --max_steps 1000000 --n_gpu 2
"""  # noqa: E501
COMMAND_C = """
python run_glue.py --model_name_or_path bert-base-uncased --task_name cola --do_train --do_eval --max_seq_length 128 \\
    --per_device_train_batch_size 32 --learning_rate 2e-5 --num_train_epochs 3 --output_dir ./res/cola/
"""  # noqa: E501
