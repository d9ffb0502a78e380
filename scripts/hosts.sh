#!/usr/bin/env bash
# Starts a program in one job on several hosts by Paddle's launcher; the same command is run on each
# host. For sourcing, after recipe.sh: on_hosts <folder for the processes' own logs> <program> ...
# Variables: MASTER (needed: address:port of the first host, a free port), NODES (2, hosts),
#            NODE_RANK (none: by order of arrival; else this host's number, 0 for MASTER),
#            PER_NODE (processes on each host: 1 per visible GPU, or 1 on the CPU),
#            RESTARTS (0: how often to restart from the newest checkpoint after a failure)
set -euo pipefail

if [[ -z ${MASTER:-} ]]; then
    echo "error: MASTER is not set: give address:port of the first host, such as 10.0.0.1:6170" >&2
    exit 2
fi
NODES=${NODES:-2}

on_hosts() { # folder for the processes' own logs, program, its arguments
    local gpus per_node hidden command code left=${RESTARTS:-0} resume=()
    gpus=$("$PY" -c 'import paddle
print(paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0)' 2>/dev/null) ||
        gpus=0
    per_node=${PER_NODE:-$((gpus > 0 ? gpus : 1))}
    command=("$PY" -m paddle.distributed.launch --nnodes "$NODES" --master "$MASTER"
        --nproc_per_node "$per_node" --log_dir "$1")
    if [[ -n ${NODE_RANK:-} ]]; then command+=(--rank "$NODE_RANK"); fi
    if ((gpus == 0)) && [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
        # The launcher wants a name for each process's GPU even where all are hidden.
        hidden=$(printf -- '-1,%.0s' $(seq "$per_node"))
        command=(env CUDA_VISIBLE_DEVICES="${hidden%,}" "${command[@]}")
    fi
    shift
    while true; do
        code=0
        "${command[@]}" "$@" ${resume[@]+"${resume[@]}"} || code=$?
        case $code in
            0 | 2 | 15 | 130 | 143) return "$code" ;; # done, a mistake, or stopped as somebody wished
        esac
        if ((left-- <= 0)); then return "$code"; fi
        echo "ended with exit code $code: starting again from the newest checkpoint" >&2
        resume=(--resume_from_checkpoint auto)
    done
}
