"""WebSockets: the flow of vosk-server's example clients, and the gateway's own messages."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

pytest.importorskip("uvicorn", reason="the extra http is not installed")
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.sync.client import connect

from server.pb.v1 import speech_pb2 as pb

PIECE = bytes(3200)  # a fifth of a second at 8000 Hz


def say(socket, **message) -> None:
    socket.send(json.dumps(message))


def hear(socket) -> dict:
    return json.loads(socket.recv(timeout=30))


@pytest.mark.parametrize("path", ["", "/", "/ws", "/v1/stream"])
def test_each_message_with_audio_gets_one_answer_and_the_end_the_last(gateway, fake, path):
    with connect(gateway.socket + path) as socket:
        say(socket, config={"sample_rate": 8000.0, "phrase_list": ["one two", "[unk]"]})
        for count in (1, 2, 3):
            socket.send(PIECE)
            # What there is by now: nobody waits for the recogniser.
            assert hear(socket)["partial"].split() in [
                ["3200"] * known for known in range(count + 1)
            ]
        socket.send('{"eof" : 1}')
        final = hear(socket)
        with pytest.raises(ConnectionClosedOK):
            socket.recv(timeout=30)
    assert final["text"] == "3200 3200 3200"
    assert final["result"][1] == {"conf": 0.0, "start": 1.0, "end": 2.0, "word": "3200"}
    config = fake.heard[-1].config
    assert (config.sample_rate_hertz, config.encoding) == (8000, 1)
    assert [*config.speech_contexts[0].phrases] == ["one two"]


def test_an_answer_waits_a_little_for_news_of_its_message(gateway):
    """A tenth of its audio's duration, so that clients that send files see text grow."""
    with connect(gateway.socket) as socket:
        say(socket, config={"sample_rate": 8000})
        socket.send(bytes(16 * 16_000))
        assert hear(socket) == {"partial": str(16 * 16_000)}
        say(socket, eof=1)
        hear(socket)


@pytest.mark.parametrize(
    "config", ['{"native": true, "model": "\\ud800"}', '{"native": true, "\\ud800": 1}']
)
def test_half_of_a_character_is_the_clients_mistake(gateway, config):
    with connect(gateway.socket) as socket:
        socket.send(f'{{"config": {config}}}')
        assert "is not JSON" in hear(socket)["error"]["message"]
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv(timeout=30)
        assert closed.value.rcvd.code == 1008


def test_configurations_without_audio_keep_no_place(fake, gateway_to):
    with gateway_to(fake.address, idle_seconds=0.5) as gateway, connect(gateway.socket) as socket:
        answer = None
        for _ in range(200):  # each well within the time
            say(socket, config={})
            with suppress(TimeoutError):
                answer = socket.recv(timeout=0.1)
                break
        assert "no audio came" in json.loads(answer)["error"]["message"]


def test_native_messages_come_as_results_do(gateway):
    with connect(gateway.socket) as socket:
        say(socket, config={"native": True, "sample_rate": 8000})
        assert hear(socket)["type"] == "started"
        socket.send(PIECE)
        assert hear(socket)["unstable"] == "3200"
        socket.send(PIECE)
        partial = hear(socket)
        assert (partial["stable"], partial["unstable"]) == ("3200", " 3200")
        say(socket, end_segment=1)
        final = hear(socket)
        assert (final["type"], final["text"], final["end"]) == ("final", "3200 3200", 2.0)
        assert [word["word"] for word in final["words"]] == ["3200", "3200"]
        say(socket, eof=1)
        assert hear(socket) == {"type": "done"}


def test_written_forms_come_by_request(gateway, fake):
    with connect(gateway.socket) as socket:
        say(socket, config={"sample_rate": 8000, "written": True})
        socket.send(PIECE)
        hear(socket)
        say(socket, eof=1)
        hear(socket)
    assert fake.heard[-1].config.enable_inverse_text_normalization


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (b"OggS\0\2" + bytes(100), "OGG"),
        (b"\x1aE\xdf\xa3" + bytes(100), "WEBM"),
        (b"RIFF\0\0\0\0WAVEfmt ", "WAV"),
        (b"fLaC" + bytes(100), "UNSPECIFIED"),
        (bytes(100), "LINEAR16"),
    ],
)
def test_the_first_bytes_tell_what_is_sent(gateway, fake, head, encoding):
    """A recording that is named can be heard while it comes."""
    with connect(gateway.socket) as socket:
        say(socket, config={"sample_rate": 8000})
        socket.send(head)
        hear(socket)
        say(socket, eof=1)
        hear(socket)
    config = fake.heard[-1].config
    assert pb.AudioEncoding.Name(config.encoding) == f"AUDIO_ENCODING_{encoding}"
    assert config.sample_rate_hertz == (8000 if encoding == "LINEAR16" else 0)
