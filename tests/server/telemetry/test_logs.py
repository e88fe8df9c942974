"""The log is one line a record, whatever clients send, and holds nothing of what they said."""

from __future__ import annotations

import json
import logging
import re
import warnings

import grpc
import pytest

from asr.types import ConfigError
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub
from server.telemetry.logs import log_call, setup_logging
from server.telemetry.records import CallRecord, current_record
from server.transport.authentication import Authentication, Tokens
from server.transport.call_log import CallLog
from server.transport.parsing import Parsing

pytestmark = pytest.mark.usefixtures("own_logging")

ATTACKS = [
    "one\ntwo",
    'x" level="ERROR',
    "\r\x1b[2J\x1b[31mred",
    "\u2028separator\u2029",
    "\u202eturned",
    "null\x00byte\x7f\x85",
    '{"level": "ERROR"}',
    "é世界🎤",
]


@pytest.fixture
def lines(capsys):
    """What has been logged since the last look."""
    return lambda: capsys.readouterr().err.splitlines()


def a_call(**more) -> CallRecord:
    record = CallRecord("asr.v1.Speech/Transcribe", "id-1", **more)
    record.spent("audio", 0.25)
    record.total_seconds = 0.5
    return record


def test_a_call_as_json(lines):
    setup_logging("json")
    log_call(a_call(model="tiny", decoder="beam", audio_seconds=1.5, audio_bytes=48000))
    [line] = lines()
    read = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", read.pop("time"))
    assert read == {
        "level": "INFO",
        "message": "call",
        "request_id": "id-1",
        "method": "asr.v1.Speech/Transcribe",
        "code": "OK",
        "model": "tiny",
        "decoder": "beam",
        "seconds": 0.5,
        "audio_seconds": 1.5,
        "audio_bytes": 48000,
        "stages": {"audio": 0.25},
    }


def test_a_refusal_as_text(lines):
    setup_logging("text")
    log_call(a_call(code=grpc.StatusCode.RESOURCE_EXHAUSTED, cause="full"))
    [line] = lines()
    assert re.fullmatch(
        r"\S+Z INFO call request_id=id-1 method=asr\.v1\.Speech/Transcribe "
        r"code=RESOURCE_EXHAUSTED cause=full seconds=0\.5 stages=audio:0\.25",
        line,
    )


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_a_client_sends_begins_a_line_or_moves_the_cursor(lines, form, attack):
    setup_logging(form)
    record = CallRecord(f"asr.v1.Speech/{attack}", attack, model=attack)
    log_call(record)
    logging.getLogger("any").warning("refused: %s", attack)
    call, message = "\n".join(lines()).split("\n")  # two, by any understanding of a line
    for line in (call, message):
        assert all(one.isprintable() for one in line)
        if form == "json":
            read = json.loads(line)
            assert attack in read["message"] or read["request_id"] == read["model"] == attack
    assert (" INFO call " in call) or json.loads(call)["level"] == "INFO"
    if form == "text" and " " not in attack.strip('"'):
        assert " level=" not in call


def test_a_traceback_stays_on_its_line(lines):
    for form in ("text", "json"):
        setup_logging(form)
        try:
            raise ValueError("first\nsecond")
        except ValueError:
            logging.getLogger("any").exception("request %s failed", "id-1")
        [line] = lines()
        assert "ValueError" in line
        assert "request id-1 failed" in line
        assert "test_logs" in line


def test_warnings_of_python_are_records_too(lines):
    setup_logging("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        setup_logging("json")
        warnings.warn("an old function\nof a library", UserWarning, stacklevel=1)
    [line] = lines()
    assert "an old function" in json.loads(line)["message"]


def test_levels_and_forms(lines):
    setup_logging("json", "warning")
    logging.getLogger("any").info("hidden")
    logging.getLogger("any").warning("shown")
    assert len(lines()) == 1
    for options in (("xml", "INFO"), ("json", "LOUD")):
        with pytest.raises(ConfigError):
            setup_logging(*options)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_audio_no_text_and_no_token_is_logged(serve, echo, each_kind, tmp_path, lines, form):
    """At every level, of refusals and defects too: what was sent and said is searched for."""
    token, said, audio = "secret-token-0123456789", "the-transcript-of-it", b"the-audio-of-it"

    class Talking(echo):
        async def Transcribe(self, request, context):  # noqa: N802
            record = current_record()
            record.audio_bytes, record.audio_seconds = len(request.audio), 1.0
            if request.config.beam_width:
                raise KeyError("a defect")
            alternative = pb.SpeechRecognitionAlternative(transcript=said)
            return pb.TranscribeResponse(
                results=[pb.SpeechRecognitionResult(alternatives=[alternative])]
            )

    path = tmp_path / "tokens"
    path.write_text(token)
    setup_logging(form, "DEBUG")
    interceptors = [CallLog([log_call]), Authentication(Tokens.load(path)), Parsing()]
    with serve(interceptors, servicer=Talking()) as serving, serving.connect() as channel:
        right = [("authorization", f"Bearer {token}")]
        each_kind(channel, right)
        each_kind(channel, [("authorization", f"Bearer {token}-wrong")])
        stub = SpeechStub(channel)
        answer = stub.Transcribe(pb.TranscribeRequest(audio=audio), timeout=20, metadata=right)
        assert answer.results[0].alternatives[0].transcript == said
        broken = pb.TranscribeRequest(audio=audio, config=pb.RecognitionConfig(beam_width=1))
        with pytest.raises(grpc.RpcError):
            stub.Transcribe(broken, timeout=20, metadata=right)
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/asr.v1.Speech/Transcribe")(b"\xff" + audio, metadata=right)
    found = lines()
    calls = [line for line in found if "request_id" in line and "asr.v1" in line]
    assert len(calls) >= 9
    everything = "\n".join(found)
    assert "INTERNAL" in everything
    assert "UNAUTHENTICATED" in everything
    assert "grpc.health" not in everything
    for secret in (token, said, audio.decode(), "secret-token"):
        assert secret not in everything
