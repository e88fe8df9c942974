"""How often a client may ask whether the server is still there, in the frames of HTTP/2 themselves:
RFC 9113, section 6.7 for pings and 6.8 for the frame that ends a connection."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from server.transport.listen import CHANNEL_OPTIONS

pytestmark = pytest.mark.timed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACKNOWLEDGED = 1
LEAST = "grpc.http2.min_ping_interval_without_data_ms"
SCALE = 0.04  # of the real intervals: the test lasts as much less


def frame(kind: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags, 0, 0, 0, 0]) + payload


def frames(connection: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """Kind, flags and payload of what the server sends, until it closes."""
    with connection.makefile("rb") as stream:
        while len(head := stream.read(9)) == 9:
            yield head[3], head[4], stream.read(int.from_bytes(head[:3], "big"))


def ping(address: str, every: float, count: int) -> list[bytes]:
    """The answers to ``count`` pings of a client without calls; the last may be why not."""
    host, port = address.split(":")
    answers = []
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(PREFACE + frame(SETTINGS) + frame(SETTINGS, flags=ACKNOWLEDGED))
        received = frames(connection)
        due = time.monotonic()
        for number in range(count):
            connection.sendall(frame(PING, struct.pack(">Q", number)))
            for kind, flags, payload in received:
                if kind == GOAWAY:
                    return [*answers, payload[8:]]
                if (kind, flags) == (PING, ACKNOWLEDGED):
                    answers.append(payload)
                    break
            due += every
            time.sleep(max(0.0, due - time.monotonic()))  # the interval is what is tested
    return answers


@pytest.fixture
def idle_server(serve):
    options = dict(CHANNEL_OPTIONS)
    options[LEAST] = int(options[LEAST] * SCALE)
    with serve(options=tuple(options.items())) as serving:
        yield serving.address


def test_a_client_without_calls_may_ping_every_ten_seconds(idle_server):
    expected = [struct.pack(">Q", number) for number in range(8)]
    assert ping(idle_server, 10 * SCALE, 8) == expected


def test_a_client_that_pings_more_often_than_the_least_interval_is_let_go(idle_server):
    answers = ping(idle_server, 2 * SCALE, 8)
    assert answers[-1] == b"too_many_pings"
    assert len(answers) < 8
