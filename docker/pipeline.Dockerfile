# Prefect's server, its worker and the pipeline in one image: client and server need the same version of Prefect.
#   docker build --file docker/pipeline.Dockerfile --tag nas-pipeline .
ARG PYTHON=3.11-slim-trixie

FROM python:${PYTHON} AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 VIRTUAL_ENV=/opt/venv
WORKDIR /build
COPY requirements.lock pyproject.toml README.md ./
RUN python -m venv /opt/venv \
    && pip install --no-cache-dir "uv==$(sed -n 's/^uv==//p' requirements.lock)" \
    && uv pip install --torch-backend cpu "torch==$(sed -n 's/^torch==//p' requirements.lock)"
COPY edge_agent edge_agent
COPY nas_pipeline nas_pipeline
COPY flows flows
RUN uv pip install --constraint requirements.lock --torch-backend cpu ./edge_agent '.[postgres]' \
    && uv pip check \
    && uv pip uninstall nas-pipeline nas-edge-agent \
    && printf '#!/opt/venv/bin/python\nfrom nas_pipeline.cli.app import main\nmain()\n' > /opt/venv/bin/nas \
    && chmod 755 /opt/venv/bin/nas

FROM python:${PYTHON}
# git creates the worktrees of runs. Its version is not pinned: Debian removes a version when it publishes the next.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory '*' \
    && useradd --uid 10001 --create-home nas \
    && install --directory --owner nas --group nas /srv/nas /home/nas/.prefect
COPY --from=build /opt/venv /opt/venv
COPY docker/worker.sh /usr/local/bin/worker.sh
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NAS_REPO=/srv/nas \
    PYTHONPATH=/srv/nas \
    PREFECT_HOME=/home/nas/.prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_LOGGING_EXTRA_LOGGERS=flows \
    MLFLOW_DISABLE_TELEMETRY=true \
    DVC_NO_ANALYTICS=1 \
    DO_NOT_TRACK=true
USER 10001
WORKDIR /srv/nas
CMD ["prefect", "version"]
