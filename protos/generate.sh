#!/bin/sh
# Generates the Python code of the contracts beside the .proto files, into the folder given (default: in place).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/src}
mkdir -p "$out"
cd "$here/src"
PATH="${VIRTUAL_ENV:-$here/../.venv}/bin:$PATH"
python -m grpc_tools.protoc -I . --python_out="$out" --grpc_python_out="$out" --mypy_out=quiet:"$out" \
  shuyan_protos/link/v1/link.proto shuyan_protos/local/v1/local.proto
