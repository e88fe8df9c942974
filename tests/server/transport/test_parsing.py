"""Bytes that are no message are refused as such, by every method, and harm nobody."""

from __future__ import annotations

import random

import grpc
import pytest
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest

from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub
from server.transport.parsing import METADATA_OPTIONS, MessageError, Parsing

OK, INVALID_ARGUMENT = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
REFUSED = (
    INVALID_ARGUMENT,
    "the request is not a message of this method (make the client from its definition)",
)
METHODS = {
    "/asr.v1.Speech/Transcribe": pb.TranscribeRequest,
    "/asr.v1.Speech/TranscribeChunks": pb.TranscribeChunksRequest,
    "/asr.v1.Speech/TranscribeStream": pb.TranscribeStreamRequest,
    "/asr.v1.Speech/ListModels": pb.ListModelsRequest,
    "/asr.v1.Speech/GetModel": pb.GetModelRequest,
    "/test.Kinds/OneToMany": pb.GetModelRequest,
    "/grpc.health.v1.Health/Check": HealthCheckRequest,
}
GARBAGE = b"\xff"  # a tag without its end: no message of any kind


def random_bytes(seed: int, count: int) -> list[bytes]:
    """Half of them noise, half valid messages with some bytes changed."""
    draw = random.Random(seed)
    config = pb.RecognitionConfig(model="a", decoder="beam", beam_width=7, encoding=1)
    valid = pb.TranscribeRequest(config=config, audio=b"audio").SerializeToString()
    made = [draw.randbytes(draw.randint(0, 40)) for _ in range(count // 2)]
    while len(made) < count:
        changed = bytearray(valid)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        made.append(bytes(changed))
    return made


def is_message(kind, data: bytes) -> bool:
    try:
        kind.FromString(data)
    except DecodeError:
        return False
    return True


def send(channel, method: str, *requests: bytes):
    """A call with raw bytes; answers are not looked at. Raises RpcError, or gives OK."""
    call = channel.stream_stream(method)
    return list(call(iter(requests), timeout=20))


@pytest.mark.parametrize("method", METHODS)
def test_a_thousand_random_strings(serve, status_of, method):
    """What protobuf itself does not take is INVALID_ARGUMENT; the rest goes to the method."""
    kind = METHODS[method]
    strings = random_bytes(len(method), 1000)
    valid = {data: is_message(kind, data) for data in strings}
    assert 10 < sum(valid.values()) < 990, "both kinds are among them"
    health = method.startswith("/grpc.health")
    passed = {OK, grpc.StatusCode.NOT_FOUND} if health else {OK}
    with serve([Parsing()]) as serving, serving.connect() as channel:
        for data in strings:
            status = status_of(lambda data=data: send(channel, method, data))
            if valid[data]:
                assert status[0] in passed, data
            else:
                assert status == REFUSED, data
        if not health and method in list(METHODS)[:5]:
            reached = [one.SerializeToString() for one in serving.servicer.seen]
            sent = [kind.FromString(data).SerializeToString() for data in strings if valid[data]]
            assert reached == sent
        assert send(channel, method, b"")


def test_garbage_within_a_stream_ends_it_after_what_came_before(serve):
    good = pb.TranscribeStreamRequest(audio_content=b"x").SerializeToString()
    with serve([Parsing()]) as serving, serving.connect() as channel:
        answers = channel.stream_stream("/asr.v1.Speech/TranscribeStream")(
            iter([good, good, GARBAGE, good]), timeout=20
        )
        received = []
        with pytest.raises(grpc.RpcError) as caught:
            received.extend(iter(answers.__next__, None))
        assert (caught.value.code(), caught.value.details()) == REFUSED
        assert len(serving.servicer.seen) == 2
        assert serving.servicer.closed.wait(20)


def test_a_method_may_see_the_garbage_itself(serve, echo, status_of):
    """As it may want to say how far it came."""

    class Careful(echo):
        async def TranscribeChunks(self, requests, context):  # noqa: N802
            try:
                return await super().TranscribeChunks(requests, context)
            except MessageError as error:
                await context.abort(INVALID_ARGUMENT, f"request 2: {error.what}")

    good = pb.TranscribeChunksRequest(audio_content=b"x").SerializeToString()
    with serve([Parsing()], servicer=Careful()) as serving, serving.connect() as channel:
        method = "/asr.v1.Speech/TranscribeChunks"
        assert status_of(lambda: send(channel, method, good, GARBAGE)) == (
            INVALID_ARGUMENT,
            "request 2: the request is not a message of this method",
        )


def test_good_requests_pass(serve, each_kind):
    with serve([Parsing()]) as serving, serving.connect() as channel:
        assert set(each_kind(channel).values()) == {(OK, "")}


def test_unknown_methods_and_services(serve, status_of):
    with serve([Parsing()]) as serving, serving.connect() as channel:
        for method in (
            *(
                "/asr.v1.Speech/LoadModel",
                "/asr.v2.Speech/Transcribe",
                "/",
                "//",
                "/asr.v1.Speech/",
            ),
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ):
            status = status_of(lambda method=method: send(channel, method, GARBAGE))
            assert status[0] == grpc.StatusCode.UNIMPLEMENTED, method


def metadata_of(size: int, keys: int = 1) -> list[tuple[str, str]]:
    return [(f"x-filler-{key}", "x" * (size // keys)) for key in range(keys)]


@pytest.mark.parametrize("keys", [1, 8, 64])
@pytest.mark.parametrize("kibibytes", [9, 17, 64, 512])
def test_large_metadata_are_refused_and_harm_nobody(serve, status_of, kibibytes, keys):
    with serve([Parsing()], options=METADATA_OPTIONS) as serving, serving.connect() as channel:
        stub = SpeechStub(channel)

        def ask(size: int):
            more = {"timeout": 20, "metadata": metadata_of(size, keys)}
            return status_of(lambda: stub.GetModel(pb.GetModelRequest(), **more))

        assert ask(1024) == (OK, "")
        large = metadata_of(kibibytes * 1024, keys)  # gRPC takes its time to refuse: all at once
        calls = [stub.GetModel.future(pb.GetModelRequest(), 20, large) for _ in range(20)]
        assert {call.code() for call in calls} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert ask(1024) == (OK, "")
        assert len(serving.servicer.seen) == 2


@pytest.mark.parametrize(
    ("size", "code"), [(8192 - 700, OK), (8192, grpc.StatusCode.RESOURCE_EXHAUSTED)]
)
def test_metadata_of_one_size_always_have_the_same_fate(serve, size, code):
    """gRPC's own headers count too. As it comes it would let most of the larger ones pass."""
    with serve([Parsing()], options=METADATA_OPTIONS) as serving, serving.connect() as channel:
        stub = SpeechStub(channel)
        metadata = metadata_of(size)
        calls = [stub.GetModel.future(pb.GetModelRequest(), 20, metadata) for _ in range(50)]
        assert {call.code() for call in calls} == {code}
