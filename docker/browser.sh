#!/usr/bin/env bash
# Installs a headless Chromium for `make check-report` from Debian's package, unless one is available.
set -euo pipefail
for name in ${CHROMIUM:+"$CHROMIUM"} chromium-headless-shell chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "no Chromium: install chromium-headless-shell (or chromium), or set CHROMIUM=/path/to/it" >&2
  exit 2
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium-headless-shell >/dev/null
