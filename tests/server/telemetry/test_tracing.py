"""Calls as spans: under the caller's span, with their stages, and never in a stop's way."""

from __future__ import annotations

import builtins
import threading
import time

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from asr.types import ConfigError
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub
from server.telemetry import tracing
from server.telemetry.records import CallRecord, current_record
from server.telemetry.tracing import Tracing
from server.transport.call_log import CallLog

pytestmark = pytest.mark.timed

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"  # of the W3C's examples


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def traced(*records: CallRecord):
    exporter = InMemorySpanExporter()
    tracing = Tracing.start(exporter)
    for record in records:
        tracing.observe(record)
    tracing._provider.force_flush()
    spans = exporter.get_finished_spans()
    tracing.stop()
    return spans


def a_call(**more) -> CallRecord:
    record = CallRecord("asr.v1.Speech/Transcribe", "id-1", **more)
    record.finish()
    return record


def test_a_call_of_a_server_is_a_span_with_its_stages(serve, echo):
    class Staged(echo):
        async def Transcribe(self, request, context):  # noqa: N802
            record = current_record()
            record.model, record.audio_seconds = "tiny", 1.5
            with record.stage("audio"):
                pass
            with record.stage("model"):
                pass
            return pb.TranscribeResponse()

    exporter = InMemorySpanExporter()
    tracing = Tracing.start(exporter)
    with (
        serve([CallLog([tracing.observe])], servicer=Staged()) as serving,
        serving.connect() as channel,
    ):
        SpeechStub(channel).Transcribe(
            pb.TranscribeRequest(audio=b"x"),
            timeout=20,
            metadata=[("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-request-id", "mine")],
        )
    tracing._provider.force_flush()
    audio, model, call = exporter.get_finished_spans()
    tracing.stop()
    assert (call.name, call.kind) == ("asr.v1.Speech/Transcribe", SpanKind.SERVER)
    assert (audio.name, model.name) == ("audio", "model")
    assert f"{call.context.trace_id:032x}" == TRACE
    assert f"{call.parent.span_id:016x}" == PARENT
    assert dict(call.attributes) == {
        "rpc.system.name": "grpc",
        "rpc.method": "asr.v1.Speech/Transcribe",
        "rpc.response.status_code": "OK",
        "asr.request_id": "mine",
        "asr.model": "tiny",
        "asr.audio_seconds": 1.5,
    }
    for stage in (audio, model):
        assert stage.parent.span_id == call.context.span_id
        assert call.start_time <= stage.start_time <= stage.end_time <= call.end_time
    assert audio.end_time <= model.start_time
    assert call.resource.attributes["service.name"] == "peephole-asr"


@pytest.mark.parametrize("sent", ["", "rubbish", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}\n"])
def test_a_call_without_a_usable_parent_begins_a_trace(sent):
    [span] = traced(a_call(traceparent=sent))
    assert span.parent is None
    assert span.context.trace_id


def test_a_caller_that_does_not_sample_is_followed():
    assert traced(a_call(traceparent=f"00-{TRACE}-{PARENT}-00")) == ()


@pytest.mark.parametrize(
    ("code", "cause", "fault"),
    [("INTERNAL", "defect", True), ("INVALID_ARGUMENT", "audio", False), ("OK", "", False)],
)
def test_only_the_server_s_own_faults_are_errors(code, cause, fault):
    [span] = traced(a_call(code=grpc.StatusCode[code], cause=cause))
    assert (span.status.status_code == StatusCode.ERROR) == fault
    assert span.attributes.get("error.type") == (code if fault else None)
    assert span.attributes["rpc.response.status_code"] == code
    assert span.attributes.get("asr.cause", "") == cause


def test_invented_methods_share_one_name():
    record = a_call(code=grpc.StatusCode.UNIMPLEMENTED)
    record.method = "asr.v1.Speech/Invented"
    [span] = traced(record)
    assert span.name == span.attributes["rpc.method"] == "_OTHER"
    assert "Invented" not in str(dict(span.attributes))


def test_nothing_happens_where_nobody_asked(monkeypatch):
    forbid_opentelemetry(monkeypatch)
    tracing = Tracing()
    tracing.observe(a_call())
    tracing.stop()


def test_asked_for_but_not_installed(monkeypatch):
    forbid_opentelemetry(monkeypatch)
    with pytest.raises(ConfigError, match=r"pip install 'peephole-asr\[telemetry\]'"):
        Tracing.start()


def forbid_opentelemetry(monkeypatch) -> None:
    real = builtins.__import__

    def refuse(name, *more, **keys):
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(name)
        return real(name, *more, **keys)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        ({}, OTLPSpanExporter),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, OTLPSpanExporter),
        ({"OTEL_TRACES_EXPORTER": "console"}, ConsoleSpanExporter),
        ({"OTEL_TRACES_EXPORTER": "none"}, type(None)),
    ],
)
def test_the_environment_names_the_exporter(monkeypatch, variables, kind):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    exporter = tracing._exporter()
    assert isinstance(exporter, kind)
    if exporter is not None:
        exporter.shutdown()


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_TRACES_EXPORTER", "zipkin")],
)
def test_an_exporter_that_is_not_installed_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="no exporter for traces"):
        Tracing.start()


class Stuck(SpanExporter):
    """A collector that does not answer."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def export(self, spans):
        self.gate.wait(60)
        return SpanExportResult.SUCCESS


def test_a_stop_waits_for_a_dead_collector_no_longer_than_it_was_told():
    stuck = Stuck()
    tracing = Tracing.start(stuck)
    tracing.observe(a_call())
    begin = time.monotonic()
    tracing.stop(0.3)
    assert 0.3 <= time.monotonic() - begin < 5
    stuck.gate.set()


def test_a_stop_sends_what_is_left():
    exporter = InMemorySpanExporter()
    tracing = Tracing.start(exporter)
    for _ in range(700):  # more than one batch
        tracing.observe(a_call())
    tracing.stop()
    assert len(exporter.get_finished_spans()) == 700
