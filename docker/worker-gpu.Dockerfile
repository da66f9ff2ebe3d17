# An engine worker with vLLM on NVIDIA GPUs; its host needs the driver and the NVIDIA container toolkit. The wheels bring CUDA.
FROM docker.io/library/python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="parrot-worker-gpu" \
      org.opencontainers.image.description="A Celery worker that hosts vLLM on GPUs" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# A compiler, for the kernels that are compiled where they run.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends g++ && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --home-dir /var/lib/parrot parrot
WORKDIR /srv/parrot
COPY . .
RUN python -m pip install '.[gpu]'

USER parrot
VOLUME /var/lib/parrot
ENTRYPOINT ["parrot"]
CMD ["worker"]
