# ServeCore. It is the plain install, so it is also the image of a worker with the simulated engine.
FROM docker.io/library/python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="parrot-core" \
      org.opencontainers.image.description="ServeCore: sees LLM programs whole and places their calls on engines" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

RUN useradd --uid 10001 --create-home --home-dir /var/lib/parrot parrot
WORKDIR /srv/parrot
# What Parrot needs, before Parrot itself: this layer stays when only the code changes.
COPY pyproject.toml ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' >/tmp/needed.txt \
 && python -m pip install -r /tmp/needed.txt
COPY . .
RUN python -m pip install --no-deps .

USER parrot
ENTRYPOINT ["parrot"]
CMD ["core"]
