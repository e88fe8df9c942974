"""Work shared out among cores: what is next is read ahead, and each core computes by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

import torch

__all__ = ["in_lanes", "one_ahead"]

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
    with ThreadPoolExecutor(lanes, thread_name_prefix="lane", initializer=_compute_alone) as pool:
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


def one_ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Yield ``items``, the next of which another thread makes while one is in use.

    That thread has one of torch's threads: its products are small, and more would be in the way.
    """
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        pool.submit(_compute_alone).result()
        torch.set_num_threads(threads)  # of this thread, and of new ones
        coming = pool.submit(_next, items)
        while got := coming.result():
            coming = pool.submit(_next, items)
            yield got[0]


def _compute_alone() -> None:
    """Give the calling thread one of torch's threads, and new ones as well."""
    torch.get_num_threads()  # else what new ones have would be taken at the first need
    torch.set_num_threads(1)


def _next(items: Iterator[Item]) -> tuple[Item] | None:
    """The next in a tuple; None at the end."""
    for item in items:
        return (item,)
    return None
