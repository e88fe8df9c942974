"""Every call ends with a record that says what it was and why it ended, and gives nothing away."""

from __future__ import annotations

import threading
from queue import Queue

import grpc
import pytest

from server.api.calls import Call
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub
from server.telemetry.records import STAGES, CallRecord, current_record, refuse, request_id_of
from server.transport.authentication import Authentication, Tokens
from server.transport.call_log import CallLog
from server.transport.parsing import Parsing

CODE = grpc.StatusCode
TOKEN = [("authorization", "Bearer 0123456789abcdef")]
SECRET = "/srv/models/secret.safetensors"


@pytest.fixture
def finished() -> Queue[CallRecord]:
    return Queue()


@pytest.fixture
def interceptors(finished, tmp_path):
    """As a server has them: the call log outermost, then who it is, then what it says."""
    path = tmp_path / "tokens"
    path.write_text("0123456789abcdef")
    return [CallLog([finished.put]), Authentication(Tokens.load(path)), Parsing()]


def servicer_of(echo, transcribe):
    class One(echo):
        async def Transcribe(self, request, context):  # noqa: N802
            return await transcribe(context)

    return One()


def ask(channel, **more):
    return SpeechStub(channel).Transcribe(pb.TranscribeRequest(), **{"timeout": 20, **more})


def test_a_client_that_has_gone_while_it_is_answered_is_no_defect(
    serve, echo, interceptors, finished
):
    """gRPC says so by an error of its own, out of a write."""

    async def transcribe(context):
        async with Call(context):
            raise grpc.aio.InternalError("the client is gone")

    with (
        serve(interceptors, servicer=servicer_of(echo, transcribe)) as serving,
        serving.connect() as channel,
        pytest.raises(grpc.RpcError),
    ):
        ask(channel, metadata=TOKEN)
    record = finished.get(timeout=20)
    assert (record.code, record.cause) == (CODE.CANCELLED, "cancelled")


def test_all_kinds_of_methods_are_recorded_and_probes_are_not(
    serve, each_kind, interceptors, finished
):
    with serve(interceptors) as serving, serving.connect() as channel:
        each_kind(channel, [*TOKEN, ("x-request-id", "mine:1")])
        records = [finished.get(timeout=20) for _ in range(4)]
    assert [record.method for record in records] == [
        *("asr.v1.Speech/Transcribe", "asr.v1.Speech/TranscribeChunks"),
        *("test.Kinds/OneToMany", "asr.v1.Speech/TranscribeStream"),
    ]
    assert {(r.request_id, r.code, r.cause) for r in records} == {("mine:1", CODE.OK, "")}
    assert all(record.total_seconds > 0 for record in records)
    assert finished.empty()
    assert interceptors[0].active == 0


async def misuse(context):
    context.set_code(CODE.NOT_FOUND)
    return pb.TranscribeResponse()


async def no_place(context):
    pushback = (("grpc-retry-pushback-ms", "500"),)
    await refuse(context, CODE.RESOURCE_EXHAUSTED, "full", "come back later", pushback)


async def no_memory(context):
    current_record().cause = "memory"
    await context.abort(CODE.RESOURCE_EXHAUSTED, "come back later")


async def fail(context):
    raise FileNotFoundError(2, "No such file", SECRET)


async def fail_late(context):
    context.set_trailing_metadata((("x-more", "1"),))
    raise KeyError(SECRET)


@pytest.mark.parametrize(
    ("transcribe", "code", "cause"),
    [
        (misuse, CODE.NOT_FOUND, "model"),
        (no_place, CODE.RESOURCE_EXHAUSTED, "full"),
        (no_memory, CODE.RESOURCE_EXHAUSTED, "memory"),
        (fail, CODE.INTERNAL, "defect"),
        (fail_late, CODE.INTERNAL, "defect"),
    ],
)
def test_the_record_says_why(serve, echo, interceptors, finished, transcribe, code, cause):
    with (
        serve(interceptors, servicer=servicer_of(echo, transcribe)) as serving,
        serving.connect() as channel,
    ):
        with pytest.raises(grpc.RpcError) as caught:
            ask(channel, metadata=TOKEN)
        record = finished.get(timeout=20)
    assert (caught.value.code(), record.code, record.cause) == (code, code, cause)
    trailing = dict(caught.value.trailing_metadata())
    assert trailing["x-request-id"] == record.request_id
    assert trailing.get("grpc-retry-pushback-ms") == ("500" if cause == "full" else None)


@pytest.mark.parametrize("seed", range(50))
def test_an_exception_gives_nothing_away_but_the_id(serve, echo, interceptors, caplog, seed):
    kinds = [ValueError, OSError, KeyError, RuntimeError, MemoryError, grpc.RpcError, Exception]

    async def raise_one(context):
        raise kinds[seed % len(kinds)](f"{SECRET} of {seed}")

    with (
        serve(interceptors, servicer=servicer_of(echo, raise_one)) as serving,
        serving.connect() as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        ask(channel, metadata=[*TOKEN, ("x-request-id", f"call-{seed}")])
    assert caught.value.code() == CODE.INTERNAL
    assert caught.value.details() == (
        f"the server failed; its log tells more under request call-{seed}"
    )
    [line] = [one for one in caplog.records if one.exc_info]
    assert f"call-{seed}" in line.getMessage()
    assert SECRET in str(line.exc_info[1])


def test_refusals_of_the_other_interceptors_are_recorded(serve, status_of, interceptors, finished):
    with serve(interceptors) as serving, serving.connect() as channel:
        status_of(lambda: ask(channel))
        for method, data in (("Transcribe", b"\xff"), ("LoadModel", b"")):
            call = channel.unary_unary(f"/asr.v1.Speech/{method}")
            status_of(lambda call=call, data=data: call(data, timeout=20, metadata=TOKEN))
        found = [finished.get(timeout=20) for _ in range(3)]
    assert [(record.code, record.cause) for record in found] == [
        (CODE.UNAUTHENTICATED, "token"),
        (CODE.INVALID_ARGUMENT, "message"),
        (CODE.UNIMPLEMENTED, "method"),
    ]


@pytest.mark.parametrize("who", ["client", "deadline"])
def test_a_call_that_nobody_waits_for_is_recorded_as_such(serve, echo, interceptors, finished, who):
    begun = threading.Event()

    class Endless(echo):
        async def Transcribe(self, request, context):  # noqa: N802
            begun.set()
            await serving.stop.wait()

    with (
        serve(interceptors, servicer=Endless()) as serving,
        serving.connect() as channel,
    ):
        timeout = 20 if who == "client" else 0.3
        call = SpeechStub(channel).Transcribe.future(
            pb.TranscribeRequest(), timeout=timeout, metadata=TOKEN
        )
        assert begun.wait(20)
        if who == "client":
            assert interceptors[0].active == 1
            call.cancel()
        record = finished.get(timeout=20)
    assert (record.code, record.cause) == (
        (CODE.CANCELLED, "cancelled") if who == "client" else (CODE.DEADLINE_EXCEEDED, "deadline")
    )


def test_a_cancelled_stream_of_answers_is_closed_at_once(serve, echo, interceptors, finished):
    """Before the record is finished, and not whenever memory is cleaned up."""
    steps: list[str] = []
    large = pb.StreamStarted(model="x" * 1_000_000)

    class Endless(echo):
        async def TranscribeStream(self, requests, context):  # noqa: N802
            try:
                while True:  # more than gRPC takes from it: the cancellation finds it in a yield
                    yield pb.TranscribeStreamResponse(started=large)
            finally:
                steps.append("closed")

    interceptors[0] = CallLog([lambda _: steps.append("recorded"), finished.put])
    with serve(interceptors, servicer=Endless()) as serving, serving.connect() as channel:
        answers = SpeechStub(channel).TranscribeStream(iter([]), timeout=20, metadata=TOKEN)
        next(answers)
        answers.cancel()
        assert finished.get(timeout=20).code == CODE.CANCELLED
        assert steps == ["closed", "recorded"]


def test_a_failing_observer_harms_neither_calls_nor_other_observers(serve, finished, caplog):
    def fail(record: CallRecord) -> None:
        raise OSError("the disk is full")

    with serve([CallLog([fail, finished.put])]) as serving, serving.connect() as channel:
        assert ask(channel) == pb.TranscribeResponse()
        finished.get(timeout=20)
    assert any("could not be recorded" in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a", True),
        ("A-z_0.9:1", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        ("a b", False),
        ("a\nb", False),
        ("a\n", False),
        ("é", False),
        ("a/b", False),
    ],
)
def test_a_request_id_is_the_client_s_or_a_new_one(given, kept):
    metadata = [("user-agent", "x"), ("x-request-id", given)]
    if kept:
        assert request_id_of(metadata) == given
    else:
        first, second = request_id_of(metadata), request_id_of(metadata)
        assert first != second
        assert len(first) == 32
        assert given == "" or given not in first


def test_two_request_ids_are_none():
    assert len(request_id_of([("x-request-id", "a"), ("x-request-id", "b")])) == 32


def test_stages_add_up_and_have_their_places():
    record = CallRecord("asr.v1.Speech/Transcribe", "id")
    for _ in range(2):
        with record.stage("audio"):
            pass
    with pytest.raises(KeyError), record.stage("search"):
        raise KeyError
    record.spent("model", 0.25)
    record.finish()
    assert list(record.stages) == ["audio", "search", "model"]
    assert record.stages["model"] == 0.25
    audio = [one.seconds for one in record.intervals if one.stage == "audio"]
    assert len(audio) == 2
    assert sum(audio) == record.stages["audio"]
    assert all(one.start >= 0 for one in record.intervals)
    with pytest.raises(ValueError, match="no stage"):
        record.spent("lunch", 1.0)
    assert len(STAGES) == 5
