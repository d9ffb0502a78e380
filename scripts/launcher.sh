#!/usr/bin/env bash
# For sourcing, after recipe.sh: `launch_into FOLDER` sets LAUNCH, the beginning of a command line
# for two processes by Paddle's launcher, on two GPUs or, if there are fewer, on the CPU (gloo). The
# output of each process goes to FOLDER.
# shellcheck disable=SC2034  # LAUNCH is for the script that sources this
set -euo pipefail

launch_into() { # folder for the processes' own logs
    local gpus
    gpus=$("$PY" -c 'import paddle
print(paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0)' 2>/dev/null) ||
        gpus=0
    LAUNCH=("$PY" -m paddle.distributed.launch --nproc_per_node 2)
    if ((gpus < 2)); then
        echo "fewer than two GPUs are visible: two processes on the CPU instead" >&2
        LAUNCH+=(--backend gloo)
    fi
    LAUNCH+=(--log_dir "$1")
}
