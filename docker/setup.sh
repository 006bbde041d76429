#!/usr/bin/env bash
# Creates the virtual environment from requirements.lock, with uv: it installs 2 GB several times faster than pip.
# $1: cpu (default) or cuda. The CPU build of torch is installed from the index that pip is configured for; if that fails,
# from PyTorch's CPU index through uv. macOS has only the CPU build.
set -euo pipefail
cd "$(dirname "$0")/.."
flavour="${1:-cpu}"
python="${PYTHON:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || { echo "Python 3.11 or newer is required; $python is $("$python" -V). Set PYTHON=/path/to/python3.11" >&2; exit 2; }
[ -x .venv/bin/python ] || "$python" -m venv .venv
uv=.venv/bin/uv
version=$(sed -n 's/^uv==//p' requirements.lock)
[ -x "$uv" ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$version"
torch=$(sed -n 's/^torch==//p' requirements.lock)
export UV_COMPILE_BYTECODE=1
has_torch() { .venv/bin/python -c "import torch, sys; sys.exit(torch.__version__.split('+')[0] != '$torch' or ('$flavour' == 'cpu') != (torch.version.cuda is None))" 2>/dev/null; }
if ! has_torch; then
  if [ "$flavour" = cuda ] || [ "$(uname)" = Darwin ]; then
    "$uv" pip install --quiet "torch==$torch"
  else
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "torch==$torch+cpu" 2>/dev/null \
      || "$uv" pip install --quiet --torch-backend cpu "torch==$torch"
  fi
fi
"$uv" pip install --quiet --constraint requirements.lock --editable edge_agent --editable '.[dev,postgres]'
has_torch || { echo "torch is not the $flavour build of $torch; remove .venv and run make setup again" >&2; exit 1; }
touch .venv/.done
