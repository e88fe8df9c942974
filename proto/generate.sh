#!/bin/sh
# Regenerate the stubs in server/pb from proto/: sh proto/generate.sh
# With --release, also proto/released.binpb, which later definitions must stay compatible with.
#
# Stubs demand at least the grpcio and protobuf they were made with, so they are made with the
# oldest supported ones (those of pyproject.toml), in an environment of their own under build/.
# -Iserver/pb/v1=... places the files where their imports are right without editing.
set -eu
cd "$(dirname "$0")/.."
TOOLS_VERSION=1.71.2

venv=build/grpcio-tools-$TOOLS_VERSION
if [ ! -e "$venv/.installed" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/pip" install "grpcio-tools==$TOOLS_VERSION"
    touch "$venv/.installed"
fi
"$venv/bin/python" -m grpc_tools.protoc -Iserver/pb/v1=proto/asr/v1 \
    --python_out=. --pyi_out=. --grpc_python_out=. proto/asr/v1/*.proto
if [ "${1:-}" = --release ]; then
    "$venv/bin/python" -m grpc_tools.protoc -Iproto --include_imports \
        --descriptor_set_out=proto/released.binpb asr/v1/speech.proto
fi
