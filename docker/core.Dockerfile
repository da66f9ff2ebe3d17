# ServeCore, its decisions compiled. It is the plain install otherwise, so it is also the image of a worker with the simulated engine.
FROM docker.io/library/python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# What Parrot needs, before Parrot itself: this layer stays when only the code changes.
COPY pyproject.toml /tmp/
RUN python -c 'import tomllib; print(*tomllib.load(open("/tmp/pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' >/tmp/needed.txt \
 && python -m pip install -r /tmp/needed.txt

FROM base AS compiled
# A base whose Python is Debian's own keeps the headers in a package.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev \
 && { python -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null \
      || apt-get install -y -qq --no-install-recommends python3-dev; } \
 && python -m pip install 'mypy>=1.15' 'setuptools>=78' wheel
WORKDIR /src
COPY . .
RUN PARROT_COMPILE=1 python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels .

FROM base
LABEL org.opencontainers.image.title="parrot-core" \
      org.opencontainers.image.description="ServeCore: sees LLM programs whole and places their calls on engines" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --create-home --home-dir /var/lib/parrot parrot
WORKDIR /srv/parrot
COPY --from=compiled /wheels /tmp/wheels
RUN python -m pip install --no-deps /tmp/wheels/*.whl

USER parrot
ENTRYPOINT ["parrot"]
CMD ["core"]
