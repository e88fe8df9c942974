"""Steps of training take their memory from what those before have freed."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = 64 * 2**20 // os.sysconf("SC_PAGE_SIZE")
STEPS = """
import resource, torch
{call}
def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.zeros(4, 2**20) for _ in range(4)]  # 64 MB in all
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([step() for _ in range(4)][-1])
"""
KEEP = "from recipes.common.memory import keep_freed; keep_freed()"


def faults(call, **variables):
    """Pages that the system had to hand out in the fourth of four equal steps."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", STEPS.format(call=call)],
        env={**kept, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_a_step_is_given_what_the_one_before_has_freed():
    assert faults(KEEP) < PAGES / 20
    assert faults(KEEP, MALLOC_TRIM_THRESHOLD_="100000") > PAGES / 2  # as the user says


def test_without_it_each_step_asks_the_system_anew():
    """Else there is nothing to gain, and the module should go."""
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("the C library is not glibc")
    assert faults("") > PAGES / 2
