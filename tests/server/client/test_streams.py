"""Audio that is sent while it is made."""

from __future__ import annotations

import os
import threading
from queue import Queue

import grpc
import pytest

from server.client import Client, ClientError, RecognitionConfig, StreamStarted
from server.limits import MESSAGE_LIMIT


def test_a_stream_begins_before_its_audio_does(fake):
    """The pieces come from a queue that is empty until the server has answered."""
    queue: Queue[bytes] = Queue()
    with Client(fake.address) as client:
        stream = client.stream(iter(queue.get, b""), RecognitionConfig(decoder="prefix"))
        assert stream.started == StreamStarted("letters", answers_at_end=True, max_audio=600.0)
        for piece in (b"one", b"two", b""):
            queue.put(piece)
        (result,) = stream
    assert (result.text, result.hypotheses[0].search) == ("6 bytes", "exact")
    assert fake.heard[0].config.decoder == "prefix"
    assert fake.heard[0].audio == b"onetwo"


def test_pieces_may_have_any_size(fake):
    pieces = [os.urandom(size) for size in (1, 0, MESSAGE_LIMIT + 1, 7)]
    with Client(fake.address) as client:
        list(client.stream(pieces))
    assert fake.heard[0].audio == b"".join(pieces)


def test_what_breaks_the_pieces_is_raised_by_the_stream(fake, caplog):
    def broken():
        yield b"first"
        raise ValueError("the microphone is gone")

    with Client(fake.address) as client:
        stream = client.stream(broken())
        with pytest.raises(ValueError, match="microphone is gone"):
            list(stream)
    assert caplog.records == []


def test_pieces_without_end_do_not_hold_an_error_back(serve_fake, failure, gate):
    def endless():
        yield b"first"
        gate.wait(30)

    fake = serve_fake(None, failure("INVALID_ARGUMENT", "too loud", after=2))
    with Client(fake.address) as client:
        stream = client.stream(endless())
        with pytest.raises(ClientError, match="too loud"):
            next(stream)


def test_a_stream_can_be_given_up(fake, gate):
    def endless():
        yield b"first"
        gate.wait(30)

    with Client(fake.address) as client:
        stream = client.stream(endless())
        stream.cancel()
        with pytest.raises(ClientError) as caught:
            next(stream)
    assert caught.value.code == grpc.StatusCode.CANCELLED


def test_a_refused_stream_asks_for_no_audio(serve_fake, failure):
    asked = threading.Event()

    def pieces():
        asked.set()
        yield b"lost"

    fake = serve_fake(None, failure("INVALID_ARGUMENT", "no such decoder"))
    with Client(fake.address) as client, pytest.raises(ClientError, match="no such decoder"):
        client.stream(pieces())
    assert not asked.is_set()
