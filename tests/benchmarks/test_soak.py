"""The soak finds what grows, and nothing where nothing grows."""

from __future__ import annotations

import re

import pytest

from benchmarks import soak
from benchmarks.soak import Sample, megabytes_a_10000


def samples(*resident: float) -> list[Sample]:
    """After every hundred calls, with so many megabytes."""
    return [Sample(100 * (n + 1), int(1e6 * held), 20, 10) for n, held in enumerate(resident)]


def test_what_stays_has_no_slope():
    assert megabytes_a_10000(samples(*[300.0] * 100)) == 0


def test_a_line_has_its_slope():
    growing = [300 + 0.02 * n for n in range(100)]  # 20 kB in a hundred calls
    assert megabytes_a_10000(samples(*growing)) == pytest.approx(2.0, abs=1e-3)


def test_the_warm_up_and_single_peaks_do_not_count():
    held = [200 + 10.0 * min(n, 10) for n in range(100)]
    held[50] += 100
    held[99] += 100
    assert megabytes_a_10000(samples(*held)) == 0


def run(bundle, capsys, *arguments: str) -> tuple[int, float]:
    """The status of a soak and the slope that it printed."""
    status = soak.main(["--bundle", str(bundle), *arguments])
    printed = capsys.readouterr().out
    assert ("FAILED" in printed) == (status != 0)
    [slope] = re.findall(r"memory grew by ([+-]\d+\.\d+) MB in", printed)
    return status, float(slope)


def test_a_planted_leak_is_found_with_its_size(tiny_bundle, capsys):
    """1 MB of each call that comes as far as its transcription: nine in ten, or more.

    So much that what allocators and caches take in the first hundreds of calls (up to 0.03 MB a
    call) is little beside it.
    """
    status, slope = run(tiny_bundle, capsys, "--calls", "400", "--leak", "1000000")
    assert status == 1
    assert 7500 < slope < 11000


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_server_stays_as_it_was(tiny_bundle, capsys):
    status, _ = run(tiny_bundle, capsys)
    assert status == 0
