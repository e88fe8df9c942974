"""Calls that are made again: how often, when, and with exactly the same audio."""

from __future__ import annotations

import io
import os
import time

import grpc
import pytest

from server.client import Client, ClientError
from server.client.retries import Attempts, RetryPolicy
from server.limits import MESSAGE_LIMIT

pytestmark = pytest.mark.timed

CODES = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
LONG = 3 * MESSAGE_LIMIT + 12345


class Pipe(io.BytesIO):
    """Can be read once."""

    def seekable(self) -> bool:
        return False


def call_names(client: Client, name: str) -> object:
    """Makes the call of that name, whatever it takes."""
    return {
        "Transcribe": lambda: client.transcribe(b"short"),
        "TranscribeChunks": lambda: client.transcribe(bytes(LONG)),
        "TranscribeStream": lambda: list(client.stream([b"a", b"b"])),
        "ListModels": client.list_models,
        "GetModel": client.get_model,
    }[name]()


METHODS = ("Transcribe", "TranscribeChunks", "TranscribeStream", "ListModels", "GetModel")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("code", CODES)
def test_a_call_is_repeated_until_it_is_answered(serve_fake, failure, method, code):
    fake = serve_fake(None, failure(code), failure(code))
    with Client(fake.address) as client:
        assert call_names(client, method)
    assert fake.methods == [method] * 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("retries", [0, 1, 3, 4])
def test_there_are_as_many_attempts_as_asked_for(serve_fake, failure, method, retries):
    fake = serve_fake(None, *[failure() for _ in range(9)])
    with Client(fake.address, retries=retries) as client, pytest.raises(ClientError) as caught:
        call_names(client, method)
    assert caught.value.code == grpc.StatusCode.UNAVAILABLE
    assert fake.methods == [method] * (retries + 1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "NOT_FOUND", "UNAUTHENTICATED", "INTERNAL"])
def test_what_would_fail_again_is_not_repeated(serve_fake, failure, method, code):
    fake = serve_fake(None, failure(code))
    with Client(fake.address) as client, pytest.raises(ClientError) as caught:
        call_names(client, method)
    assert caught.value.code == grpc.StatusCode[code]
    assert fake.methods == [method]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pushback", ["-1", "later", ""])
def test_a_server_can_forbid_to_repeat(serve_fake, failure, method, pushback):
    fake = serve_fake(None, failure(pushback=pushback))
    with Client(fake.address) as client, pytest.raises(ClientError):
        call_names(client, method)
    assert fake.methods == [method]


@pytest.mark.parametrize("method", ["Transcribe", "TranscribeChunks", "TranscribeStream"])
def test_a_server_says_how_long_to_wait(serve_fake, failure, method):
    """Longer than the policy's first pause can be, which is 0.24 s."""
    fake = serve_fake(None, failure(pushback="400"))
    start = time.monotonic()
    with Client(fake.address) as client:
        call_names(client, method)
    assert time.monotonic() - start > 0.4
    assert fake.methods == [method] * 2


@pytest.mark.parametrize("method", ["Transcribe", "TranscribeChunks", "TranscribeStream"])
def test_without_a_word_of_the_server_the_policy_waits(serve_fake, failure, method):
    fake = serve_fake(None, failure(pushback=None))
    start = time.monotonic()
    with Client(fake.address) as client:
        call_names(client, method)
    assert time.monotonic() - start > 0.16
    assert fake.methods == [method] * 2


def test_no_pause_goes_beyond_the_timeout(serve_fake, failure):
    fake = serve_fake(None, failure(pushback="60000"))
    with Client(fake.address, timeout=20) as client, pytest.raises(ClientError) as caught:
        client.transcribe(bytes(LONG))
    assert caught.value.code == grpc.StatusCode.UNAVAILABLE
    assert fake.methods == ["TranscribeChunks"]


@pytest.mark.parametrize("after", [1, 2, 7, 30, 49])
def test_an_upload_is_repeated_from_its_first_byte(serve_fake, failure, after):
    """Wherever it broke off: gRPC's own replay was seen to leave messages out."""
    audio = os.urandom(LONG)
    fake = serve_fake(None, failure(after=after), failure(after=after))
    file = io.BytesIO(b"before" + audio)
    file.seek(6)
    with Client(fake.address) as client:
        client.transcribe(file)
    assert fake.methods == ["TranscribeChunks"] * 3
    assert fake.heard[-1].audio == audio


def test_a_message_of_the_largest_size_is_repeated_as_it_is(serve_fake, failure):
    audio = os.urandom(MESSAGE_LIMIT - 100)
    fake = serve_fake(None, failure(), failure())
    with Client(fake.address) as client:
        client.transcribe(Pipe(audio))
    assert fake.methods == ["Transcribe"] * 3
    assert fake.heard[-1].audio == audio


def test_an_upload_through_a_pipe_is_not_repeated(serve_fake, failure):
    fake = serve_fake(None, failure())
    with Client(fake.address) as client, pytest.raises(ClientError) as caught:
        client.transcribe(Pipe(bytes(LONG)))
    assert caught.value.code == grpc.StatusCode.UNAVAILABLE
    assert fake.methods == ["TranscribeChunks"]


def test_no_piece_of_a_stream_is_lost_before_the_server_takes_it_up(serve_fake, failure):
    fake = serve_fake(None, failure(), failure("RESOURCE_EXHAUSTED"))
    pieces = iter([b"once", b" only"])
    with Client(fake.address) as client:
        (result,) = client.stream(pieces)
    assert result.text == "9 bytes"
    assert fake.methods == ["TranscribeStream"] * 3
    assert fake.heard[-1].audio == b"once only"


def test_a_stream_that_was_taken_up_is_not_repeated(serve_fake, failure):
    fake = serve_fake(None, failure(after=2))
    with Client(fake.address) as client:
        stream = client.stream([b"once"])
        with pytest.raises(ClientError) as caught:
            list(stream)
    assert caught.value.code == grpc.StatusCode.UNAVAILABLE
    assert fake.methods == ["TranscribeStream"]


@pytest.mark.parametrize("retries", [-1, 5])
def test_more_attempts_than_grpc_makes_are_refused(retries):
    with pytest.raises(ClientError, match="give 0 to 4"):
        Client(retries=retries)


def test_pauses_grow_as_grpcs_do():
    policy = RetryPolicy(4)
    for attempt, pause in enumerate([0.2, 0.6, 1.8, 5.0]):
        for _ in range(20):
            assert 0.8 * pause <= policy.pause(attempt) <= 1.2 * pause


def test_streams_and_single_messages_follow_one_rule():
    """The service config, which gRPC reads, and the attempts that are counted here."""
    policy = RetryPolicy(2, first_pause=0.5, longest_pause=3.0, factor=2.0)
    (method,) = policy.service_config()["methodConfig"]
    written = method["retryPolicy"]
    assert written == {
        "maxAttempts": 3,
        "initialBackoff": "0.5s",
        "maxBackoff": "3.0s",
        "backoffMultiplier": 2.0,
        "retryableStatusCodes": list(CODES),
    }
    for code in grpc.StatusCode:
        pause = Attempts(policy, timeout=60).pause_after(code, None)
        assert (pause is not None) == (code.name in CODES)
    attempts = Attempts(policy, timeout=60)
    pauses = [attempts.pause_after(grpc.StatusCode.UNAVAILABLE, ()) for _ in range(3)]
    assert [pause is None for pause in pauses] == [False, False, True]
