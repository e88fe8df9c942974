"""Live streams side by side, with stand-ins for model and streams, in virtual time."""

from __future__ import annotations

import asyncio
from functools import partial

import numpy as np
import pytest
import torch

from asr.decoding import Stop
from asr.live import Final, Interim
from asr.types import DecodingError, Hypothesis
from server.engine.live import MOST_FINALS, LiveStreams
from server.options import StreamOptions

CHUNK = 10  # samples
RATE = 100
WAIT = 0.01


class Talk:
    """Stands for a live stream: it tells the sum of its samples; below 0 it ends a segment."""

    def __init__(self) -> None:
        self.session = self
        self.samples: list[float] = []
        self.chunks = 0
        self.is_computed = False
        self.has_finished = self.has_ended = False

    @property
    def ended(self) -> bool:
        return self.has_finished

    @property
    def is_ready(self) -> bool:
        left = len(self.samples) - self.chunks * CHUNK
        return not self.has_ended and (left >= CHUNK or ((self.has_finished) and left > 0))

    def push(self, samples: np.ndarray) -> None:
        assert not self.is_computed
        self.samples += samples.tolist()

    def force_end(self) -> list[object]:
        assert not self.is_computed
        return [final(f"forced at {len(self.samples)}")]

    def finish(self) -> list[object]:
        self.has_finished = True
        return self.settle()

    def settle(self) -> list[object]:
        if self.has_finished and not self.is_ready:
            self.has_ended = True
            return [final(f"{sum(self.samples):g}")]
        return []

    def accept(self, log_probs: torch.Tensor) -> list[object]:
        value = float(log_probs)
        if np.isnan(value):
            raise DecodingError("no numbers")
        if value < 0:
            return [final("segment")]
        return [interim(f"{value:g}"), *self.settle()]


def final(text: str) -> Final:
    return Final((Hypothesis(text, 0.0, 1.0),), 0.0, 0.0, "rule2")


def interim(text: str) -> Interim:
    return Interim(text, "", 0.5, (), 0, 0.0, 0.0)


class Network:
    """Remembers its batches, and is told what to do before each."""

    def __init__(self, before=lambda: None) -> None:
        self.before = before
        self.batches: list[int] = []

    def step(self, sessions: list[Talk]) -> list[torch.Tensor]:
        self.before()
        self.batches.append(len(sessions))
        assert len(set(map(id, sessions))) == len(sessions)
        rows = []
        for talk in sessions:
            talk.chunks += 1
            rows.append(torch.tensor(sum(talk.samples[: talk.chunks * CHUNK])))
        return rows


def options(**changes) -> StreamOptions:
    return StreamOptions(**{"parallel": 2, "wait_seconds": WAIT, "buffer_seconds": 1.0, **changes})


def begin(streams: LiveStreams, network: Network):
    return streams.open(network, Talk(), RATE, Stop())


def samples(count: int, value: float = 1.0) -> np.ndarray:
    return np.full(count, value, np.float32)


async def said(hearing) -> list[str]:
    found = []
    async for events in hearing.events():
        found += [event.text for event in events]
    return found


async def speak(hearing, pieces) -> list[str]:
    """All that is said of ``pieces``; None ends a segment."""
    listening = asyncio.create_task(said(hearing))
    for piece in pieces:
        await (hearing.force_end() if piece is None else hearing.push(piece))
        await asyncio.sleep(0.1)
    await hearing.finish()
    return await listening


def test_many_streams_are_computed_together_and_each_hears_its_own(virtually, instantly):
    async def live() -> None:
        network = Network()
        streams = LiveStreams(instantly(), options())
        hearings = [begin(streams, network) for _ in range(5)]
        found = await asyncio.gather(
            *(speak(hearing, [samples(10, n)] * 3) for n, hearing in enumerate(hearings))
        )
        for n, texts in enumerate(found):
            assert texts == [f"{10 * n}", f"{20 * n}", f"{30 * n}", f"{30 * n}"]
        assert network.batches == [5, 5, 5]

    virtually(live())


def test_those_of_another_network_are_computed_apart(virtually, instantly):
    async def live() -> None:
        networks = [Network(), Network()]
        streams = LiveStreams(instantly(), options())
        hearings = [begin(streams, networks[n % 2]) for n in range(5)]
        await asyncio.gather(*(speak(hearing, [samples(10)]) for hearing in hearings))
        assert [network.batches for network in networks] == [[3], [2]]

    virtually(live())


def test_a_chunk_waits_for_others_for_a_bounded_time(virtually, instantly):
    """Alone for as long as the option says; with a full batch not at all."""

    async def live() -> None:
        loop = asyncio.get_running_loop()
        for count, waited in ((1, WAIT), (2, WAIT), (3, 0.0)):
            began: list[float] = []
            network = Network(partial(lambda times: times.append(loop.time()), began))
            streams = LiveStreams(instantly(), options(batch_streams=3))
            hearings = [begin(streams, network) for _ in range(count)]
            start = loop.time()
            for hearing in hearings:
                await hearing.push(samples(10))
            await asyncio.sleep(1.0)
            assert began == pytest.approx([start + waited])
            assert network.batches == [count]

    virtually(live())


def test_under_load_no_chunk_waits_longer_than_two_batches(virtually, instantly):
    """50 streams, batches of at most 10 that take 20 ms whatever their size, two at a time."""

    async def live() -> None:
        loop, network = asyncio.get_running_loop(), Network()
        streams = LiveStreams(instantly(lambda *_: 0.02), options(batch_streams=10))
        hearings = [begin(streams, network) for _ in range(50)]
        start = loop.time()
        await asyncio.gather(*(hearing.push(samples(10)) for hearing in hearings))
        ends = []
        for hearing in hearings:
            async for _ in hearing.events():
                ends.append(loop.time() - start)
                break
        assert network.batches == [10] * 5
        assert max(ends) == pytest.approx(0.06), "three rounds of two batches"

    virtually(live())


def test_the_last_chunks_of_a_stream_are_computed_at_once(virtually, instantly):
    """Whoever has stopped speaking waits for nobody, and for one batch."""

    async def live() -> None:
        loop, network = asyncio.get_running_loop(), Network()
        streams = LiveStreams(instantly(lambda *_: 0.05), options(wait_seconds=0.2))
        hearing = begin(streams, network)
        await hearing.push(samples(9))
        await hearing.finish()
        start = loop.time()
        assert await said(hearing) == ["9"]
        assert loop.time() - start == pytest.approx(0.05)
        assert network.batches == [1]

    virtually(live())


def test_no_stream_is_in_two_batches_at_once(virtually, instantly):
    """`Talk` says so where it is handed samples meanwhile."""

    async def live() -> None:
        network = Network()
        streams = LiveStreams(instantly(lambda *_: 0.05), options(wait_seconds=0.0))
        hearing = begin(streams, network)
        listening = asyncio.create_task(said(hearing))
        for _ in range(12):
            await hearing.push(samples(7))
            await asyncio.sleep(0.01)
        await hearing.finish()
        assert (await listening)[-1] == "84"
        assert network.batches == [1] * 9

    virtually(live())


def test_one_that_fails_leaves_the_others_alone(virtually, instantly):
    async def live() -> None:
        network = Network()
        streams = LiveStreams(instantly(), options())
        broken, whole = begin(streams, network), begin(streams, network)
        results = await asyncio.gather(
            speak(broken, [samples(10, np.nan)]),
            speak(whole, [samples(10)]),
            return_exceptions=True,
        )
        assert isinstance(results[0], DecodingError)
        assert results[1] == ["10", "10"]
        assert network.batches == [2]

    virtually(live())


def test_whoever_waits_for_a_network_that_fails_is_told(virtually, instantly):
    async def live() -> None:
        def fail() -> None:
            raise MemoryError

        network = Network(fail)
        streams = LiveStreams(instantly(), options())
        talks = [speak(begin(streams, network), [samples(10)] * 2) for _ in range(2)]
        results = await asyncio.gather(*talks, return_exceptions=True)
        assert [type(result) for result in results] == [MemoryError, MemoryError]

    virtually(live())


def test_whoever_sends_faster_than_can_be_computed_waits(virtually, instantly):
    """A batch takes as long as its audio: what waits is never more than the buffer."""

    async def live() -> None:
        network = Network()
        streams = LiveStreams(instantly(lambda *_: 0.1), options(buffer_seconds=1.0))
        hearing = begin(streams, network)
        listening = asyncio.create_task(said(hearing))
        for sent in range(1, 61):
            await hearing.push(samples(10))
            held = 10 * sent - CHUNK * len(network.batches)
            assert held <= RATE + 2 * CHUNK
        assert asyncio.get_running_loop().time() > 4.0
        await hearing.finish()
        assert (await listening)[-1] == "600"

    virtually(live())


def test_a_large_message_is_taken_in_parts(virtually, instantly):
    async def live() -> None:
        network = Network()
        hearing = begin(LiveStreams(instantly(lambda *_: 0.1), options()), network)
        listening = asyncio.create_task(said(hearing))
        await hearing.push(samples(1_000))
        await hearing.finish()
        assert (await listening)[-1] == "1000"

    virtually(live())


def test_of_interim_results_that_nobody_reads_the_last_is_kept(virtually, instantly):
    async def live() -> None:
        hearing = begin(LiveStreams(instantly(), options()), Network())
        for _ in range(5):
            await hearing.push(samples(10))
            await asyncio.sleep(0.1)
        events = hearing.events()
        assert [event.text for event in await anext(events)] == ["50"]
        await hearing.push(samples(10))
        await hearing.finish()
        await asyncio.sleep(0.1)
        assert await anext(events) == [final("60")], "and a final one takes the place of all"

    virtually(live())


def test_a_client_that_reads_nothing_is_computed_no_further(virtually, instantly):
    """Its final results are kept, its audio stays where it is, and it goes on when it reads."""

    async def live() -> None:
        network = Network()
        hearing = begin(LiveStreams(instantly(), options()), network)

        async def send() -> None:
            for _ in range(100):
                await hearing.push(samples(10, -1.0))
            await hearing.finish()

        sending = asyncio.create_task(send())
        await asyncio.sleep(60.0)
        assert len(network.batches) == MOST_FINALS
        assert not sending.done(), "the rest of the audio is with the client"
        assert await said(hearing) == ["segment"] * 100 + ["-1000"]
        await sending

    virtually(live())


def test_a_stream_that_is_closed_in_the_queue_is_never_computed(virtually, instantly):
    async def live() -> None:
        network = Network()
        streams = LiveStreams(instantly(), options())
        gone, there = begin(streams, network), begin(streams, network)
        await gone.push(samples(10))
        await there.push(samples(10))
        streams.close(gone)
        await asyncio.sleep(1.0)
        assert network.batches == [1]
        assert (gone.stream.chunks, there.stream.chunks) == (0, 1)
        assert len(streams) == 0

    virtually(live())


def test_a_stream_that_is_closed_in_a_batch_leaves_the_others_alone(virtually, instantly):
    async def live() -> None:
        network = Network()
        streams = LiveStreams(instantly(lambda *_: 0.1), options())
        gone, there = begin(streams, network), begin(streams, network)
        pushing = [asyncio.create_task(speak(each, [samples(10)])) for each in (gone, there)]
        await asyncio.sleep(0.05)
        streams.close(gone)
        assert await pushing[0] == []
        assert await pushing[1] == ["10", "10"]

    virtually(live())


def test_whoever_waits_for_room_is_let_go_when_the_stream_closes(virtually, instantly):
    async def live() -> None:
        streams = LiveStreams(instantly(lambda *_: 9e9), options())
        hearing = begin(streams, Network())
        pushing = asyncio.create_task(hearing.push(samples(1_000)))
        await asyncio.sleep(0.1)
        streams.close(hearing)
        await asyncio.wait_for(pushing, 1.0)

    virtually(live())


def test_the_end_of_a_segment_has_its_place_between_samples(virtually, instantly):
    async def live() -> None:
        hearing = begin(LiveStreams(instantly(), options()), Network())
        texts = await speak(hearing, [samples(10), samples(3), None, samples(10)])
        assert texts == ["10", "forced at 13", "20", "23"]

    virtually(live())


def test_a_stop_lets_a_segment_end_and_no_other_begin(virtually, instantly):
    async def live() -> None:
        streams = LiveStreams(instantly(), options())
        hearing = begin(streams, Network())
        talking = asyncio.create_task(
            speak(hearing, [samples(10), samples(10), samples(10, -9.0), samples(10)])
        )
        await asyncio.sleep(0.05)
        streams.drain(5.0)
        assert await talking == ["10", "20", "segment"]
        assert hearing.is_drained
        assert begin(streams, Network()) is not None

    virtually(live())


def test_a_segment_that_goes_on_is_cut_at_the_end_of_the_time(virtually, instantly):
    async def live() -> None:
        streams = LiveStreams(instantly(), options())
        hearing = begin(streams, Network())
        talking = asyncio.create_task(speak(hearing, [samples(10)] * 100))
        await asyncio.sleep(0.05)
        streams.drain(1.0)
        texts = await talking
        assert texts == [*(f"{10 * n}" for n in range(1, 12)), "110"], "all that came is heard"
        assert hearing.is_drained

    virtually(live())


def test_a_stream_that_begins_after_the_cut_is_cut(virtually, instantly):
    """Its call came before the stop, its configuration long after."""

    async def live() -> None:
        streams = LiveStreams(instantly(), options())
        streams.drain(1.0)
        await asyncio.sleep(1.1)
        hearing = begin(streams, Network())
        talking = asyncio.create_task(speak(hearing, [samples(10)]))
        await asyncio.wait_for(talking, 1.0)
        assert hearing.is_drained

    virtually(live())


def test_a_client_that_has_finished_is_answered_as_ever_during_a_stop(virtually, instantly):
    async def live() -> None:
        streams = LiveStreams(instantly(lambda *_: 3.0), options())
        hearing = begin(streams, Network())
        talking = asyncio.create_task(speak(hearing, [samples(10)]))
        await asyncio.sleep(0.2)
        streams.drain(1.0)
        assert (await talking)[-1] == "10"
        assert not hearing.is_drained  # there was nothing more to come

    virtually(live())
