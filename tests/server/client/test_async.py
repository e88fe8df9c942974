"""The asyncio client says what the other says, and does not hold the loop up."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator

import grpc
import pytest

from server.client import AsyncClient, Client, ClientError, RecognitionConfig
from server.limits import MESSAGE_LIMIT

LONG = 3 * MESSAGE_LIMIT + 12345


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def run(address: str, use, **options):
    """The result of the coroutine function ``use``, called with a client."""

    async def main():
        async with AsyncClient(address, **options) as client:
            return await use(client)

    return asyncio.run(main())


async def every_call(client: AsyncClient, audio: bytes, file) -> list[object]:
    config = RecognitionConfig(decoder="prefix", max_alternatives=2, enable_word_time_offsets=True)
    return [
        await client.transcribe(audio, config),
        await client.transcribe(io.BytesIO(audio), config),
        await client.transcribe_file(file, config),
        [part async for part in await client.stream(pieces(audio), config)],
        (await client.stream(pieces(audio), config)).started,
        await client.list_models(),
        await client.get_model("phones"),
    ]


@pytest.mark.parametrize("size", [4, LONG])
def test_both_clients_give_the_same(fake, tmp_path, size):
    audio = os.urandom(size)
    file = tmp_path / "audio"
    file.write_bytes(audio)
    got = run(fake.address, lambda client: every_call(client, audio, file))
    assert [h.audio for h in fake.heard[:4]] == [audio] * 4
    config = RecognitionConfig(decoder="prefix", max_alternatives=2, enable_word_time_offsets=True)
    with Client(fake.address) as client:
        assert got == [
            client.transcribe(audio, config),
            client.transcribe(audio, config),
            client.transcribe_file(file, config),
            list(client.stream([audio], config)),
            client.stream([], config).started,
            client.list_models(),
            client.get_model("phones"),
        ]


METHODS = {
    "Transcribe": lambda client: client.transcribe(b"short"),
    "TranscribeChunks": lambda client: client.transcribe(bytes(LONG)),
    "TranscribeStream": lambda client: client.stream(pieces(b"a")),
    "ListModels": lambda client: client.list_models(),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_call_is_repeated_until_it_is_answered(serve_fake, failure, method):
    fake = serve_fake(None, failure(), failure("RESOURCE_EXHAUSTED"))
    run(fake.address, METHODS[method])
    assert fake.methods == [method] * 3


@pytest.mark.parametrize("method", METHODS)
def test_errors_are_told_as_the_other_client_tells_them(serve_fake, failure, method):
    fake = serve_fake(None, failure("UNAUTHENTICATED", "no token"), failure(pushback="-1"))
    for code in ("UNAUTHENTICATED", "UNAVAILABLE"):
        with pytest.raises(ClientError) as caught:
            run(fake.address, METHODS[method])
        assert caught.value.code == grpc.StatusCode[code]
        assert caught.value.request_id == fake.heard[-1].metadata["x-request-id"]
    assert fake.methods == [method] * 2


@pytest.mark.parametrize("after", [1, 7, 40])
def test_an_upload_is_repeated_from_its_first_byte(serve_fake, failure, after):
    audio = os.urandom(LONG)
    fake = serve_fake(None, failure(after=after), failure(after=after))
    run(fake.address, lambda client: client.transcribe(io.BytesIO(audio)))
    assert fake.methods == ["TranscribeChunks"] * 3
    assert fake.heard[-1].audio == audio


def test_a_message_of_the_largest_size_is_repeated_as_it_is(serve_fake, failure):
    audio = os.urandom(MESSAGE_LIMIT - 100)
    fake = serve_fake(None, failure(), failure())
    run(fake.address, lambda client: client.transcribe(audio))
    assert fake.methods == ["Transcribe"] * 3
    assert fake.heard[-1].audio == audio


@pytest.mark.parametrize("after", [2, 7, 40])
def test_the_status_of_an_upload_that_is_refused_on_its_way_is_told(serve_fake, failure, after):
    """grpc.aio alone tells INTERNAL of many such calls."""
    fake = serve_fake(None, *[failure("UNAUTHENTICATED", after=after) for _ in range(20)])

    async def use(client):
        for _ in range(20):
            with pytest.raises(ClientError) as caught:
                await client.transcribe(bytes(LONG))
            assert caught.value.code == grpc.StatusCode.UNAUTHENTICATED

    run(fake.address, use)


def test_no_piece_of_a_stream_is_lost_before_the_server_takes_it_up(serve_fake, failure):
    fake = serve_fake(None, failure(), failure())

    async def use(client):
        return [part async for part in await client.stream(pieces(b"once", b" only"))]

    (part,) = run(fake.address, use)
    assert part.text == "9 bytes"
    assert fake.heard[-1].audio == b"once only"


def test_what_breaks_the_pieces_is_raised_by_the_stream(fake):
    async def broken() -> AsyncIterator[bytes]:
        yield b"first"
        raise ValueError("the microphone is gone")

    async def use(client):
        return [part async for part in await client.stream(broken())]

    with pytest.raises(ValueError, match="microphone is gone"):
        run(fake.address, use)


def test_a_file_that_breaks_off_is_not_transcribed_without_its_end(fake):
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > MESSAGE_LIMIT:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(OSError, match="Input/output error"):
        run(fake.address, lambda client: client.transcribe(Breaking(bytes(LONG))))


@pytest.mark.parametrize("size", [4, LONG])
def test_a_cancelled_task_ends_its_call(serve_fake, gate, size):
    reached = threading.Event()

    def hold(_: bytes) -> None:
        reached.set()
        gate.wait(30)

    async def use(client):
        task = asyncio.create_task(client.transcribe(bytes(size)))
        assert await asyncio.to_thread(reached.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(fake.speech.ended.acquire, timeout=30)

    fake = serve_fake(hook=hold)
    run(fake.address, use)


def test_calls_run_side_by_side(serve_fake):
    """Each is answered only when all have come."""
    together = threading.Barrier(4)
    fake = serve_fake(hook=lambda _: together.wait(30))

    async def use(client):
        return await asyncio.gather(*[client.transcribe(bytes(size)) for size in range(4)])

    assert [result.text for result in run(fake.address, use)] == [f"{n} bytes" for n in range(4)]


def test_a_file_that_cannot_be_read_is_told(fake, tmp_path):
    with pytest.raises(ClientError, match="cannot be read"):
        run(fake.address, lambda client: client.transcribe_file(tmp_path / "none.wav"))
