#!/usr/bin/env bash
# Updates the clone before a scheduled run on a server, fast-forward only. A branch without an upstream is not updated.
set -euo pipefail
git rev-parse --verify --quiet '@{upstream}' >/dev/null || exit 0
git pull --quiet --ff-only
