# syntax=docker/dockerfile:1
# TinyLlama Studio with everything that trains: docs/container.md says how it is run.
#
#     docker build -t tinyllama-studio .                          # for a GPU; the driver and its toolkit are the machine's
#     docker build -t tinyllama-studio --build-arg DEVICE=cpu .   # without CUDA: 2 GB instead of 8

FROM python:3.12-slim-bookworm

# a GPU's libraries compile with gcc what Triton starts; fonts-nanum has the Korean letters of pictures
ARG DEVICE=gpu
# hadolint ignore=DL3008,SC2086
RUN case "$DEVICE" in gpu) more="gcc libc6-dev" ;; cpu) more="" ;; *) echo "DEVICE is gpu or cpu." >&2; exit 1 ;; esac \
    && apt-get update \
    && apt-get install -y --no-install-recommends tini fonts-nanum $more \
    && rm -rf /var/lib/apt/lists/*

# packages before the code: a change of the code installs nothing again. Of them torch first, which is most of it
ARG TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /app
COPY requirements.txt constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    torch="$(grep -oE '^torch==[^ ]+' requirements.txt)" \
    && if [ "$DEVICE" = cpu ]; then export PIP_EXTRA_INDEX_URL="$TORCH_CPU_INDEX"; fi \
    && pip install "$torch" -c constraints.txt
RUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt -c constraints.txt

# what .dockerignore lets through: source, no data, no secret. Nobody who runs it can change it
COPY . .
RUN python -m compileall -q . \
    && chmod -R a+rX,go-w . \
    && useradd --uid 1000 --create-home studio \
    && install -d -o studio -g studio /data /data/adapters /cache

# the app answers under the names of the machine that its port is published on; others are added to STUDIO_HOSTS
ENV STUDIO_HOME=/data \
    HF_HOME=/cache \
    STUDIO_ON_TERM=stop \
    STUDIO_HOSTS=localhost:7860 \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000
VOLUME ["/data", "/cache"]
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['GRADIO_SERVER_PORT'] + '/healthz', timeout=9)"]
# tini is the first process: it passes SIGTERM on to the app, and reaps what outlives its parent
ENTRYPOINT ["tini", "--"]
CMD ["python", "app.py"]
