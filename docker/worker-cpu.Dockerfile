# An engine worker with vLLM on a CPU. The packaged small model is prepared at the first start (15 s) into the volume
# /var/lib/parrot, so that the image does not hold it twice.
FROM docker.io/library/python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="parrot-worker-cpu" \
      org.opencontainers.image.description="A Celery worker that hosts vLLM on a CPU" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# What vLLM links to, and a compiler for its parts that are compiled where they run.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends g++ libnuma1 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --home-dir /var/lib/parrot parrot
WORKDIR /srv/parrot
COPY requirements requirements
RUN python -m pip install --no-deps --retries 1 --timeout 30 -r requirements/torch-cpu.txt \
 && python -m pip install --no-deps -r requirements/engine-cpu.txt
COPY . .
RUN python -m pip install .

USER parrot
VOLUME /var/lib/parrot
ENTRYPOINT ["parrot"]
CMD ["worker"]
