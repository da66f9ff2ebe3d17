# Flower, which shows Celery's workers and tasks. It needs nothing of Parrot but its own settings.
FROM docker.io/library/python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="parrot-flower" \
      org.opencontainers.image.description="Flower, showing Parrot's engine workers and generations" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

RUN useradd --uid 10001 --create-home --home-dir /var/lib/parrot parrot \
 && python -m pip install 'celery[redis]>=5.5' 'flower>=2.0'
WORKDIR /srv/parrot
COPY broker_configs/flowerconfig.py ./

USER parrot
EXPOSE 5555
CMD ["celery", "flower", "--conf=flowerconfig.py", "--address=0.0.0.0", "--port=5555"]
