#!/usr/bin/env bash
# Before a scheduled run on a server: what its branch has upstream. A repository without an upstream stays as it is.
set -euo pipefail
git rev-parse --verify --quiet '@{upstream}' >/dev/null || exit 0
git pull --quiet --ff-only
