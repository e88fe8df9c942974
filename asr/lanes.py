"""Work shared out among cores: what is next is read ahead, and each core computes by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

import torch

__all__ = ["in_lanes"]

LANES_A_READER = 4  # reading takes a tenth of the time of recognising, or less

Item = TypeVar("Item")
Source = TypeVar("Source")
Result = TypeVar("Result")


def in_lanes(
    items: Sequence[Item],
    read: Callable[[Item], Source],
    compute: Callable[[Source], Result],
    lanes: int,
) -> Generator[Result, None, None]:
    """Yield ``compute(read(item))`` of each item, in their order.

    So many ``lanes`` compute at a time, each in a thread in which torch, and all that goes by its
    number of threads, has one. With one lane the caller's thread computes, with all threads that it
    has. Other threads read ahead. At most three items a lane, and two more, are in memory.

    What ``read`` and ``compute`` raise is raised here in its turn. When the iterator is closed,
    what has begun is waited for.
    """
    with closing(_read_ahead(items, read, lanes)) as sources:
        if lanes > 1:
            yield from _on_threads_of_their_own(sources, compute, lanes)
        else:
            for source in sources:
                yield compute(source.result())


def _read_ahead(
    items: Sequence[Item], read: Callable[[Item], Source], lanes: int
) -> Generator[Future[Source], None, None]:
    """What is being read, in the order of ``items``, so far ahead that no lane waits for long."""
    waiting: deque[Future[Source]] = deque()
    with ThreadPoolExecutor(-(-lanes // LANES_A_READER), thread_name_prefix="read") as readers:
        try:
            for item in items:
                waiting.append(readers.submit(read, item))
                if len(waiting) > lanes + 1:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        except BaseException:  # closed before the end
            readers.shutdown(wait=False, cancel_futures=True)
            raise


def _on_threads_of_their_own(
    sources: Iterator[Future[Source]], compute: Callable[[Source], Result], lanes: int
) -> Generator[Result, None, None]:
    def run(source: Future[Source]) -> Result:
        return compute(source.result())

    threads = torch.get_num_threads()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(
        lanes, thread_name_prefix="lane", initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        try:
            for source in sources:
                waiting.append(pool.submit(run, source))
                if len(waiting) >= 2 * lanes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            torch.set_num_threads(threads)  # the lanes' is what new threads would have
