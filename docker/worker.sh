#!/usr/bin/env bash
# Entry point of the worker's container: clones the repository mounted at /source, then runs its arguments.
set -euo pipefail
[ -d "$NAS_REPO/.git" ] || git clone --quiet /source "$NAS_REPO"
cd "$NAS_REPO"
bash docker/update.sh
mkdir -p reports
exec "$@"
