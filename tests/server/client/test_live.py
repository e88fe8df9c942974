"""Live streams of both clients: results as they become known, with their types."""

from __future__ import annotations

import asyncio
from queue import Queue

import grpc
import pytest

from server.client import (
    END_OF_SEGMENT,
    AsyncClient,
    Client,
    ClientError,
    Hypothesis,
    LiveResult,
    RecognitionConfig,
    StreamingRecognitionConfig,
    Word,
)
from server.limits import MESSAGE_LIMIT

CONFIG = StreamingRecognitionConfig(interim_results=True)
PIECES = (b"one", b"four", END_OF_SEGMENT, b"a")


def result(text: str, settled: str, start: float, end: float, **more) -> LiveResult:
    values = {"is_final": False, "stability": 0.25, **more}
    return LiveResult(
        (Hypothesis(text, 0.0, 0.0, ()),), settled=settled, start=start, end=end, **values
    )


FINAL = {"is_final": True, "stability": 1.0}
RESULTS = [
    result("3", "", 0.0, 1.0),
    result("3 4", "3", 0.0, 2.0),
    result("3 4", "3 4", 0.0, 2.0, **FINAL),
    result("1", "", 10.0, 11.0),
    result("1", "1", 10.0, 11.0, **FINAL),
]


def test_results_come_with_what_is_settled_of_them(fake):
    with Client(fake.address) as client:
        assert list(client.live(PIECES, CONFIG)) == RESULTS
    assert fake.heard[0].kinds == ["audio_content", "audio_content", "end_segment", "audio_content"]


def test_the_asyncio_client_gives_the_same(fake):
    async def pieces():
        for piece in PIECES:
            yield piece

    async def main():
        async with AsyncClient(fake.address) as client:
            stream = await client.live(pieces(), CONFIG)
            return [result async for result in stream]

    assert asyncio.run(main()) == RESULTS


def test_a_result_is_there_before_the_next_piece_is_spoken(fake):
    queue: Queue[bytes | None] = Queue()
    with Client(fake.address) as client:
        stream = client.live(iter(queue.get, None), CONFIG)
        for text in ("2", "2 2", "2 2 2"):
            queue.put(b"ab")
            assert next(stream).text == text
        queue.put(None)
        assert [result.is_final for result in stream] == [True]


def test_words_of_both_parts_are_in_one_list(fake):
    config = StreamingRecognitionConfig(
        config=RecognitionConfig(enable_word_time_offsets=True), interim_results=True
    )
    with Client(fake.address) as client:
        _, interim, _ = client.live([b"a", b"bc"], config)
    assert interim.hypotheses[0].words == (Word("1", 0.0, 1.0, 0.0), Word("2", 1.0, 2.0, 0.0))


def test_the_end_of_a_single_utterance_is_told(fake):
    config = StreamingRecognitionConfig(single_utterance=True)
    with Client(fake.address) as client:
        (last,) = client.live([b"a", END_OF_SEGMENT, b"never heard"], config)
    assert (last.text, last.is_final, last.is_last) == ("1", True, True)


def test_large_pieces_are_cut_to_messages(fake):
    with Client(fake.address) as client:
        list(client.live([bytes(MESSAGE_LIMIT + 1)], StreamingRecognitionConfig()))
    assert len(fake.heard[0].audio) == MESSAGE_LIMIT + 1


def test_what_the_server_says_of_the_stream_is_typed(fake):
    with Client(fake.address) as client:
        started = client.live([], CONFIG).started
    assert (started.model, started.look_ahead, started.chunk) == ("letters", 0.0, 0.0)


def test_a_stream_is_taken_up_again_only_until_it_has_begun(serve_fake, failure):
    fake = serve_fake(None, failure(), failure("RESOURCE_EXHAUSTED"))
    with Client(fake.address) as client:
        assert len(list(client.live([b"a"], CONFIG))) == 2
    assert len(fake.heard) == 3


def test_a_refusal_is_told(serve_fake, failure):
    fake = serve_fake(None, failure("INVALID_ARGUMENT", "look_ahead is 9 s"))
    with Client(fake.address) as client, pytest.raises(ClientError, match="look_ahead") as caught:
        client.live([b"a"], CONFIG)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
