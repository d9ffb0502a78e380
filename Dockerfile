# syntax=docker/dockerfile:1
# bert-paddle in a container, from the lock files. Not built so far: no container engine was at hand
# where it was written; tests/test_dockerfile.py checks what can be checked without one.
#
#   docker build -t bert-paddle .                                   # for CPUs
#   docker build -t bert-paddle:gpu --build-arg PADDLE=cu126 .      # NVIDIA: cu118 cu126 cu129 cu130
#   docker run --rm --init -v "$PWD/glue:/glue:ro" -v "$PWD/models:/models" -v "$PWD/runs:/runs" \
#       -v bert-paddle-cache:/cache --user "$(id -u):$(id -g)" \
#       bert-paddle glue --task_name SST-2 --model_name_or_path bert-base-uncased --output_dir sst2
#
# With a GPU: docker run --gpus all --shm-size 1g ... The mounted folders must be writable by the
# user given (1000 without --user). /cache keeps the compiled CPU kernels from run to run.
# --init hands signals on and collects ended processes; `docker stop -t 120` gives a training two
# minutes, in place of ten seconds, to save a checkpoint before it is killed.
FROM python:3.11-slim-bookworm
# libgomp: OpenMP of Paddle and scikit-learn. The compiler: the package compiles its CPU kernels
# when they are first used, and does without them where there is none.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libgomp1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/bert_paddle
COPY requirements-lock.txt requirements-cpu.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip install --no-deps --require-hashes --requirement requirements-lock.txt
# The build of Paddle: cpu, or one of Paddle's own index.
ARG PADDLE=cpu
RUN --mount=type=cache,target=/root/.cache/pip \
    case "$PADDLE" in \
        cpu) python -m pip install --no-deps --require-hashes --requirement requirements-cpu.txt ;; \
        cu118 | cu126 | cu129 | cu130) python -m pip install paddlepaddle-gpu==3.3.1 \
            --index-url "https://www.paddlepaddle.org.cn/packages/stable/$PADDLE/" ;; \
        *) echo "PADDLE is cpu, cu118, cu126, cu129 or cu130, not $PADDLE" >&2; exit 2 ;; \
    esac
COPY pyproject.toml setup.py README.md LICENSE ./
COPY bert_paddle bert_paddle
RUN python -m pip install --no-cache-dir --no-deps --no-build-isolation . \
    && rm -rf build bert_paddle.egg-info bert_paddle
# Any user may be given with --user, who has no home: HOME and the caches are folders that all may
# write to, as /tmp is.
RUN useradd --uid 1000 --no-create-home bert \
    && mkdir /glue /models /runs /cache \
    && chmod 1777 /models /runs /cache
# Models are looked for, and downloaded, in /models/models; GLUE's files are in /glue.
ENV HOME=/cache XDG_CACHE_HOME=/cache BERT_PADDLE_HOME=/models GLUE_DATA_DIR=/glue
USER bert
WORKDIR /runs
ENTRYPOINT ["bert-paddle"]
CMD ["--help"]
