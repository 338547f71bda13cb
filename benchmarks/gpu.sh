#!/usr/bin/env bash
# Checks and measures détente on a GPU in at most eight minutes: benchmarks/gpu.sh
# The same program with small games on a CPU: benchmarks/gpu.sh --device cpu
# Results: $OUT/gpu.json and $OUT/benchmarks-gpu.md if OUT is set, otherwise in runs/gpu.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-}
if [ -z "$python" ]; then
    python=python3
    [ -x .venv/bin/python ] && python=.venv/bin/python
fi
export PYTHONPATH="src:.${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "$python" -m benchmarks.gpu "$@"
