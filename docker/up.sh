#!/usr/bin/env bash
# Starts or stops all services on one server: see docs/containers.md. $1: up or down.
set -euo pipefail
cd "$(dirname "$0")/.."
docker compose version >/dev/null 2>&1 \
  || { echo "error: 'docker compose' does not work; install Docker with its compose plugin, or use make pipeline, which needs neither" >&2; exit 2; }
bash docker/write_env.sh .env
compose() { docker compose --env-file .env --file docker/compose.yaml "$@"; }
if [ "$1" = down ]; then
  compose down
  exit
fi
compose up --build --detach --wait
echo "Prefect   http://127.0.0.1:4200   (user nas, password PREFECT_PASSWORD in .env)"
echo "MLflow    http://127.0.0.1:5000"
echo "Reports   http://127.0.0.1:8080"
