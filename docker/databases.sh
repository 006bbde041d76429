#!/usr/bin/env bash
# Creates the databases of Prefect and MLflow. Postgres runs this script when its volume is new.
set -euo pipefail
for name in prefect mlflow; do
  psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 --command "CREATE DATABASE $name"
done
