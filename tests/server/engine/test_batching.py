"""Batches: what is joined, who waits for whom, and that each call gets its own result."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from asr.types import AsrError, AudioError, Waveform
from server.engine.batching import Batcher
from server.options import BatchOptions


def audio(seconds: float) -> Waveform:
    return Waveform(np.zeros(round(seconds * 1000), np.float32), 1000)


class Model:
    """Gives the durations, and remembers its batches. While ``gate`` is closed it works."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, waveforms):
        self.batches.append([waveform.duration for waveform in waveforms])
        self.begun.release()
        assert self.gate.wait(30)
        return [waveform.duration for waveform in waveforms]


def play(scene, options: BatchOptions | None = None, model=None, threads=1):
    """Run ``scene(batcher, model)``; gives the model."""
    model = model or Model()

    async def live() -> None:
        with ThreadPoolExecutor(threads) as executor:
            await scene(Batcher(model, executor, options or BatchOptions(1, wait_seconds=0)), model)

    asyncio.run(live())
    return model


async def begun(model: Model) -> None:
    await asyncio.to_thread(model.begun.acquire)


async def queued(batcher: Batcher, count: int) -> None:
    while len(batcher) < count:
        await asyncio.sleep(0)


async def while_the_model_works(batcher, model, durations):
    """Tasks for ``durations`` that arrive while the model is busy with another."""
    model.gate.clear()
    first = asyncio.create_task(batcher.submit(audio(9.0)))
    await begun(model)
    tasks = []
    for duration in durations:
        tasks.append(asyncio.create_task(batcher.submit(audio(duration))))
        await queued(batcher, len(tasks))
    return first, tasks


def test_a_call_alone_is_a_batch_at_once():
    async def scene(batcher, model):
        batched = await batcher.submit(audio(1.0))
        assert (batched.value, batched.size) == (1.0, 1)

    play(scene, BatchOptions(1, wait_seconds=1.0))


def test_calls_gather_while_the_model_works_and_each_gets_its_own():
    async def scene(batcher, model):
        first, tasks = await while_the_model_works(batcher, model, [1.0, 1.2, 0.8])
        model.gate.set()
        assert [(await task).value for task in tasks] == [1.0, 1.2, 0.8]
        assert (await first).size == 1
        assert {(await task).size for task in tasks} == {3}

    assert play(scene).batches == [[9.0], [1.0, 1.2, 0.8]]


def test_the_size_of_a_batch_is_bounded_with_its_padding():
    async def scene(batcher, model):
        first, tasks = await while_the_model_works(batcher, model, [2.0, 1.5, 2.0, 1.0, 2.5])
        model.gate.set()
        await asyncio.gather(first, *tasks)

    model = play(scene, BatchOptions(1, batch_seconds=6.0, wait_seconds=0))
    assert model.batches == [[9.0], [2.0, 2.0, 1.5], [1.0], [2.5]]


def test_lengths_in_a_batch_are_alike_and_nobody_is_passed_over_for_ever():
    async def scene(batcher, model):
        first, tasks = await while_the_model_works(batcher, model, [1.0, 5.0, 1.5, 6.0, 0.4])
        model.gate.set()
        await asyncio.gather(first, *tasks)

    assert play(scene).batches == [[9.0], [1.0, 1.5], [5.0, 6.0], [0.4]]


def test_audio_longer_than_a_batch_is_a_batch_of_its_own():
    async def scene(batcher, model):
        first, tasks = await while_the_model_works(batcher, model, [30.0, 30.0])
        model.gate.set()
        await asyncio.gather(first, *tasks)

    model = play(scene, BatchOptions(1, batch_seconds=10.0, wait_seconds=0))
    assert model.batches == [[9.0], [30.0], [30.0]]


def test_several_batches_are_computed_at_a_time():
    async def scene(batcher, model):
        model.gate.clear()
        tasks = []
        for _ in range(2):
            tasks.append(asyncio.create_task(batcher.submit(audio(1.0))))
            await begun(model)
        late = asyncio.create_task(batcher.submit(audio(1.0)))
        await queued(batcher, 1)
        model.gate.set()
        await asyncio.gather(*tasks, late)

    assert len(play(scene, BatchOptions(2, wait_seconds=0), threads=2).batches) == 3


def test_free_models_share_what_waits():
    async def scene(batcher, model):
        with batcher.coming():
            tasks = [asyncio.create_task(batcher.submit(audio(1.0))) for _ in range(5)]
            await queued(batcher, 5)
        await asyncio.gather(*tasks)

    batches = play(scene, BatchOptions(2, wait_seconds=1.0), threads=2).batches
    assert sorted(map(len, batches)) == [2, 3]


def test_a_free_model_waits_for_a_call_on_its_way():
    async def scene(batcher, model):
        arrived = asyncio.Event()

        async def on_its_way():
            with batcher.coming():
                await arrived.wait()
            return await batcher.submit(audio(1.1))

        late = asyncio.create_task(on_its_way())
        early = asyncio.create_task(batcher.submit(audio(1.0)))
        await queued(batcher, 1)
        arrived.set()
        await asyncio.gather(early, late)

    assert play(scene, BatchOptions(1, wait_seconds=1.0)).batches == [[1.0, 1.1]]


def test_it_does_not_wait_longer_than_it_may():
    async def scene(batcher, model):
        with batcher.coming():  # and never comes
            assert (await batcher.submit(audio(1.0))).size == 1

    play(scene, BatchOptions(1, wait_seconds=0.01))


@pytest.mark.timed
def test_a_full_batch_does_not_wait():
    async def scene(batcher, model):
        with batcher.coming():
            tasks = [asyncio.create_task(batcher.submit(audio(1.0))) for _ in range(2)]
            await asyncio.wait_for(asyncio.gather(*tasks), 0.5)

    play(scene, BatchOptions(1, batch_seconds=2.0, wait_seconds=1.0))


def test_what_is_cancelled_in_the_queue_never_reaches_the_model():
    async def scene(batcher, model):
        first, tasks = await while_the_model_works(batcher, model, [1.0, 1.1, 1.2])
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        assert len(batcher) == 2
        model.gate.set()
        await asyncio.gather(first, tasks[0], tasks[2])

    assert play(scene).batches == [[9.0], [1.0, 1.2]]


def test_what_is_cancelled_in_a_batch_harms_no_other():
    async def scene(batcher, model):
        first, tasks = await while_the_model_works(batcher, model, [1.0, 1.1, 1.2])
        model.gate.set()
        await first
        model.gate.clear()
        await begun(model)
        tasks[0].cancel()
        model.gate.set()
        assert [(await task).value for task in tasks[1:]] == [1.1, 1.2]
        assert (await batcher.submit(audio(2.0))).value == 2.0, "it goes on"

    play(scene)


def test_one_that_the_model_refuses_fails_alone():
    class Fussy(Model):
        def __call__(self, waveforms):
            values = super().__call__(waveforms)
            if 1.1 in values:
                raise AudioError("not this one")
            return values

    async def scene(batcher, model):
        first, tasks = await while_the_model_works(batcher, model, [1.0, 1.1, 1.2])
        model.gate.set()
        outcomes = await asyncio.gather(first, *tasks, return_exceptions=True)
        assert isinstance(outcomes[2], AsrError)
        assert [outcomes[i].value for i in (1, 3)] == [1.0, 1.2]

    play(scene, model=Fussy())


def test_a_defect_fails_its_batch_and_no_later_one():
    class Broken(Model):
        def __call__(self, waveforms):
            if len(self.batches) == 1:
                self.batches.append([])
                raise KeyError("weights")
            return super().__call__(waveforms)

    async def scene(batcher, model):
        first, tasks = await while_the_model_works(batcher, model, [1.0, 1.1])
        model.gate.set()
        outcomes = await asyncio.gather(first, *tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes[1:]] == [KeyError, KeyError]
        assert (await batcher.submit(audio(2.0))).value == 2.0

    play(scene, model=Broken())


def test_models_that_share_a_thread_gather_while_either_works():
    async def live():
        busy, other = Model(), Model()
        busy.gate.clear()
        options, slots = BatchOptions(1, wait_seconds=0), asyncio.Semaphore(1)
        with ThreadPoolExecutor(1) as executor:
            first = Batcher(busy, executor, options, slots=slots)
            second = Batcher(other, executor, options, slots=slots)
            working = asyncio.create_task(first.submit(audio(1.0)))
            await begun(busy)
            tasks = []
            for duration in (2.0, 2.1, 2.2):
                tasks.append(asyncio.create_task(second.submit(audio(duration))))
                for _ in range(5):
                    await asyncio.sleep(0)  # time for a batch of one to begin, if it could
            tasks[0].cancel()
            await asyncio.sleep(0)
            busy.gate.set()
            await asyncio.gather(working, *tasks, return_exceptions=True)
        assert other.batches == [[2.1, 2.2]], "nothing for the cancelled one, the others together"

    asyncio.run(live())


def test_a_model_that_gives_too_few_results_leaves_no_call_waiting():
    class Forgetful(Model):
        def __call__(self, waveforms):
            return super().__call__(waveforms)[:1]

    async def scene(batcher, model):
        first, tasks = await while_the_model_works(batcher, model, [1.0, 1.1])
        model.gate.set()
        outcomes = asyncio.gather(first, *tasks, return_exceptions=True)
        outcomes = await asyncio.wait_for(outcomes, 10)
        assert [type(outcome) for outcome in outcomes[1:]] == [ValueError, ValueError]

    play(scene, model=Forgetful())


def test_a_batch_that_cannot_be_counted_leaves_no_call_waiting():
    def fail(size, seconds):
        raise KeyError("no such metric")

    async def live():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(Model(), executor, BatchOptions(1, wait_seconds=0), fail)
            with pytest.raises(KeyError):
                await asyncio.wait_for(batcher.submit(audio(1.0)), 10)

    asyncio.run(live())


@pytest.mark.parametrize(
    "options",
    [{"batch_seconds": 0}, {"wait_seconds": -1}, {"padding": float("nan")}, {"parallel": 0}],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(AsrError):
        BatchOptions(**options)
