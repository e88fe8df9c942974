"""Work in lanes: in order, at once, within bounds, and ended whole."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from asr.lanes import in_lanes, one_ahead

SECONDS = 30  # that a thread waits for another before the test fails


@pytest.fixture(autouse=True)
def two_threads():
    """More than a lane has, whatever the environment says: what sets one thread must be seen to."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_results_are_in_the_order_of_the_items(lanes):
    found = in_lanes(range(40), lambda item: item + 1, lambda source: source * 2, lanes)
    assert list(found) == [2 * (item + 1) for item in range(40)]


@pytest.mark.parametrize("lanes", [1, 2])
def test_of_nothing_there_is_no_result(lanes):
    assert list(in_lanes([], int, int, lanes)) == []


def test_lanes_compute_at_once_with_one_thread_of_torch_each():
    meeting = threading.Barrier(3)

    def compute(item: int) -> int:
        meeting.wait(SECONDS)  # breaks unless three are here
        return torch.get_num_threads()

    assert list(in_lanes(range(6), int, compute, 3)) == [1] * 6


def test_one_lane_is_the_callers_thread():
    threads = set(in_lanes(range(5), int, lambda item: threading.get_ident(), 1))
    assert threads == {threading.get_ident()}


def test_what_is_next_is_read_while_something_is_computed():
    read = [threading.Event() for _ in range(3)]

    def compute(item: int) -> bool:
        return item == 2 or read[item + 1].wait(SECONDS)

    assert all(in_lanes(range(3), lambda item: read[item].set() or item, compute, 1))


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_only_so_much_is_read_ahead(lanes):
    begun: list[int] = []
    most = 0

    def read(item: int) -> int:
        begun.append(item)
        return item

    for given, _ in enumerate(in_lanes(range(60), read, int, lanes)):
        most = max(most, len(begun) - given)
    assert 1 < most <= 3 * lanes + 2


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("where", ["read", "compute"])
def test_an_error_is_raised_in_its_turn(lanes, where):
    def fail(item: int) -> int:
        if item == 7:
            raise KeyError(item)
        return item

    steps = {"read": int, "compute": int, where: fail}
    results = in_lanes(range(20), steps["read"], steps["compute"], lanes)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(KeyError, match="7"):
        next(results)


@pytest.mark.parametrize("lanes", [1, 2])
def test_closed_it_leaves_nothing_behind(lanes):
    before, threads = torch.get_num_threads(), threading.active_count()
    begun: list[int] = []

    def compute(item: int) -> int:
        begun.append(item)
        return item

    results = in_lanes(range(1000), int, compute, lanes)
    assert next(results) == 0
    results.close()
    assert len(begun) <= 1 + 3 * lanes
    assert threading.active_count() == threads
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as pool:  # a new thread has as many as the caller
        assert pool.submit(torch.get_num_threads).result() == before


# One ahead


def test_the_next_is_made_while_one_is_in_use():
    made = [threading.Event() for _ in range(4)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    found = []
    for number in one_ahead(items()):
        found.append(number)
        assert number == 3 or made[number + 1].wait(SECONDS)
        assert number >= 2 or not made[number + 2].is_set()
    assert found == [0, 1, 2, 3]


def test_it_is_made_by_one_thread_of_torch_and_the_caller_keeps_his():
    before = torch.get_num_threads()
    counts = set(one_ahead(torch.get_num_threads() for _ in range(3)))
    assert counts == {1}
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before


def test_an_error_in_what_is_ahead_is_raised_in_its_turn():
    def items():
        yield from (0, 0)  # what is false ends nothing
        raise KeyError("third")

    ahead = one_ahead(items())
    assert [next(ahead), next(ahead)] == [0, 0]
    with pytest.raises(KeyError, match="third"):
        next(ahead)


def test_closed_it_ends_its_thread():
    threads = threading.active_count()
    ahead = one_ahead(iter(range(10)))
    assert next(ahead) == 0
    ahead.close()
    assert threading.active_count() == threads
