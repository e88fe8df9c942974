"""The committed stubs are those of the committed definition."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from server.limits import MESSAGE_LIMIT
from server.pb.v1 import speech_pb2

pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")

ROOT = Path(__file__).resolve().parents[3]
PROTOS = sorted((ROOT / "proto").rglob("*.proto"))
MAP = "-Iserver/pb/v1=proto/asr/v1"


def run_protoc(*arguments: str) -> None:
    files = [str(proto.relative_to(ROOT)) for proto in PROTOS]
    command = [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", MAP, *arguments, *files]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def test_the_stubs_describe_what_the_definition_says(tmp_path):
    """Whatever grpcio-tools made them: the descriptors are compared, not the text."""
    run_protoc(f"--descriptor_set_out={tmp_path / 'set'}")
    compiled = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "set").read_bytes()).file[0]
    committed = descriptor_pb2.FileDescriptorProto()
    speech_pb2.DESCRIPTOR.CopyToProto(committed)
    for file in (compiled, committed):
        for message in file.message_type:
            for field in message.field:
                field.ClearField("json_name")  # some compilers spell out the default
    assert committed == compiled


def test_the_stubs_are_as_generated(tmp_path):
    from importlib.metadata import version

    committed = ROOT / "server" / "pb" / "v1"
    made_by = re.search(
        r"GRPC_GENERATED_VERSION = '(.+)'", (committed / "speech_pb2_grpc.py").read_text()
    )
    assert made_by is not None
    if version("grpcio-tools") != made_by.group(1):
        pytest.skip(f"made with grpcio-tools {made_by.group(1)}: sh proto/generate.sh compares")
    run_protoc(*(f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")))
    for fresh in (tmp_path / "server" / "pb" / "v1").iterdir():
        assert (committed / fresh.name).read_text() == fresh.read_text(), fresh.name


@pytest.mark.parametrize("proto", PROTOS, ids=lambda proto: proto.name)
def test_everything_in_the_definition_is_commented(proto):
    previous = ""
    for number, line in enumerate(proto.read_text().splitlines(), start=1):
        declares = re.match(r"\s*(message|enum|service|rpc|oneof|[\w. ]+ = \d+;)", line)
        if declares and not previous.strip().startswith("//"):
            pytest.fail(f"{proto.name}:{number}: no comment above {line.strip()!r}")
        previous = line


def test_the_definition_states_the_limits_in_force():
    text = PROTOS[0].read_text()
    assert f"({MESSAGE_LIMIT:,} bytes)" in text
