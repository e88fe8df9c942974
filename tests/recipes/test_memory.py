"""The allocator keeps what is freed."""

import subprocess
import sys

import pytest

CYCLES = """
import resource, sys, torch
from recipes.common.memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(77)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
torch.ones(16 << 20)
once = faults() - before
for _ in range(39):
    torch.ones(16 << 20)
print((faults() - before) / once)
"""


def times_the_pages_of_one_tensor(how):
    """Page faults of forty tensors, made one after another, by those of the first."""
    command = [sys.executable, "-c", CYCLES, how]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if result.returncode == 77:
        pytest.skip("the C library has no mallopt")
    assert result.returncode == 0, result.stderr
    return float(result.stdout)


def test_later_tensors_take_the_places_of_earlier_ones():
    assert times_the_pages_of_one_tensor("default") > 30
    assert times_the_pages_of_one_tensor("keep") < 15
