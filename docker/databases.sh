#!/usr/bin/env bash
# Postgres runs this when its volume is new: a database for each of its users.
set -euo pipefail
for name in prefect mlflow; do
  psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 --command "CREATE DATABASE $name"
done
