# The bench, which times an ONNX file on a device. It needs numpy and onnxruntime, but not torch, MLflow or Prefect.
#   docker build --file docker/edge.Dockerfile --tag nas-edge .
#   echo '{"models": ["/models/model.onnx"], "threads": 1, "warmup": 50, "runs": 400}' \
#     | docker run --rm --interactive --network none --read-only --volume "$PWD/artifacts/export/TARGET:/models:ro" nas-edge
ARG PYTHON=3.11-slim-trixie

FROM python:${PYTHON} AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 VIRTUAL_ENV=/opt/venv
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /opt/venv \
    && pip install --no-cache-dir "uv==$(sed -n 's/^uv==//p' requirements.lock)" \
    && uv pip install --constraint requirements.lock numpy onnxruntime \
    && uv pip check

FROM python:${PYTHON}
RUN useradd --uid 10001 --create-home nas
COPY --from=build /opt/venv /opt/venv
COPY nas_pipeline/__init__.py nas_pipeline/errors.py /opt/nas/nas_pipeline/
COPY nas_pipeline/core /opt/nas/nas_pipeline/core
COPY nas_pipeline/export/__init__.py nas_pipeline/export/session.py /opt/nas/nas_pipeline/export/
COPY nas_pipeline/latency /opt/nas/nas_pipeline/latency
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/nas PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /opt/nas
ENTRYPOINT ["python", "-m", "nas_pipeline.latency.bench"]
