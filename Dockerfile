# bert-paddle in a container, from the lock file. Not built so far: no container engine was at hand
# where it was written; tests/test_dockerfile.py checks what can be checked without one.
#
#   docker build -t bert-paddle .                              # for CPUs
#   docker build -t bert-paddle:gpu --build-arg DEVICE=gpu .   # for NVIDIA GPUs
#   docker run --rm -v "$PWD/glue:/glue:ro" -v "$PWD/models:/models" -v "$PWD/runs:/runs" \
#       bert-paddle glue --task_name SST-2 --model_name_or_path bert-base-uncased --output_dir sst2
#
# With a GPU: docker run --gpus all --shm-size 1g ... The folders that are mounted must be writable
# by user 1000, or give --user "$(id -u):$(id -g)".
FROM python:3.11-slim-bookworm
ARG DEVICE=cpu
# libgomp: OpenMP of Paddle and scikit-learn. The compiler: the package compiles its CPU kernels
# when they are first used, and does without them where there is none.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libgomp1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/bert_paddle
COPY requirements-lock.txt requirements-gpu.txt ./
# PIP_USE_PEP517 as in scripts/environment.sh.
RUN PIP_USE_PEP517=1 python -m pip install --no-cache-dir --require-hashes \
        --requirement requirements-lock.txt
# Both builds of Paddle fill the same folder, so the CPU one goes first.
RUN case "$DEVICE" in \
        cpu) ;; \
        gpu) python -m pip uninstall --yes paddlepaddle \
             && python -m pip install --no-cache-dir --requirement requirements-gpu.txt ;; \
        *) echo "DEVICE is cpu or gpu, not $DEVICE" >&2; exit 2 ;; \
    esac
COPY pyproject.toml README.md LICENSE ./
COPY bert_paddle bert_paddle
RUN python -m pip install --no-cache-dir --no-deps --no-build-isolation . \
    && rm -rf build bert_paddle.egg-info bert_paddle
RUN useradd --uid 1000 --create-home bert \
    && mkdir /glue /models /runs \
    && chown bert /models /runs
# Models are looked for, and downloaded, in /models/models; GLUE's files are in /glue.
ENV BERT_PADDLE_HOME=/models GLUE_DATA_DIR=/glue
USER bert
WORKDIR /runs
ENTRYPOINT ["bert-paddle"]
CMD ["--help"]
