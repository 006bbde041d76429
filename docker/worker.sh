#!/usr/bin/env bash
# In the worker's container: a clone of the repository that is mounted at /source, then the command that is given.
set -euo pipefail
[ -d "$NAS_REPO/.git" ] || git clone --quiet /source "$NAS_REPO"
cd "$NAS_REPO"
bash docker/update.sh
mkdir -p reports
exec "$@"
