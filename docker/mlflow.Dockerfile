# The tracking server and the registry: MLflow on Postgres, files on S3. It contains no code of the pipeline.
#   docker build --file docker/mlflow.Dockerfile --tag nas-mlflow .
ARG PYTHON=3.11-slim-trixie

FROM python:${PYTHON} AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 VIRTUAL_ENV=/opt/venv
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /opt/venv \
    && pip install --no-cache-dir "uv==$(sed -n 's/^uv==//p' requirements.lock)" \
    && uv pip install --constraint requirements.lock mlflow 'psycopg[binary]' boto3 \
    && uv pip check

FROM python:${PYTHON}
RUN useradd --uid 10001 --create-home nas
COPY --from=build /opt/venv /opt/venv
COPY docker/make_bucket.py /usr/local/bin/make_bucket.py
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true
USER 10001
WORKDIR /home/nas
EXPOSE 5000
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000"]
