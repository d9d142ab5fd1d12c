# One image for the site and for workers; compose.yaml says which is which.
FROM python:3.12-slim

# libgomp and libegl: what the numerical wheels and the hand-landmark runtime load. make: the set-up target.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends make tini libgomp1 libegl1 libgles2 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 redys

WORKDIR /app
# Packages first: they change less often than the program.
COPY Makefile requirements.txt requirements-models.txt package.json package-lock.json .npmrc ./
COPY settings.py ./
COPY pipeline ./pipeline
RUN make setup PYTHON=python3

COPY . .
RUN mkdir /data && chown redys:redys /data
USER redys

ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    REDYS_DATA_DIR=/data \
    REDYS_HOST=0.0.0.0 \
    REDYS_LOG=json \
    REDYS_PORT=8050
VOLUME /data
EXPOSE 8050

HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
  CMD python -c "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"REDYS_PORT\"]}/health', timeout=8)"

# tini buries the supervisors' dead. No --preload: each worker opens its own database connections.
ENTRYPOINT ["tini", "--"]
# The server's processes keep their figures together, in a folder that is empty at each start.
CMD ["sh", "-c", "export PROMETHEUS_MULTIPROC_DIR=$(mktemp -d) && exec gunicorn app:server --bind $REDYS_HOST:$REDYS_PORT --worker-class gthread --workers 2 --threads 16 --timeout 120 --graceful-timeout 30"]
