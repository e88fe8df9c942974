"""Stacks, arguments for a recurrence, and what a kernel has to give for them."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from asr.nn.cells import CELLS
from asr.nn.kernels import library, reference
from asr.nn.kernels.operator import Arguments
from asr.nn.recurrent import RecurrentStack
from asr.nn.torch_lstm import TorchLSTMStack

NAMES = ("gates", "weight_hh", "peephole", "weight_hr", "h0", "c0")


def make_arguments(cell, lengths, *, D=2, H=3, proj_size=0, padding=0, seed=0):
    """float64 arguments of a recurrence that contracts, so that rounding errors do not grow."""
    generator = torch.Generator().manual_seed(seed)
    T, B, R = max(lengths, default=0) + padding, len(lengths), proj_size or H
    G, P = len(CELLS[cell].gates), len(CELLS[cell].peepholes)

    def draw(*shape, scale):
        return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Arguments(
        cell,
        gates=draw(T, B, D, G * H, scale=0.5),
        weight_hh=draw(D, G * H, R, scale=0.5 / R**0.5),
        peephole=draw(D, P, H, scale=0.5) if P else None,
        weight_hr=draw(D, R, H, scale=0.5 / H**0.5) if proj_size else None,
        h0=draw(D, B, R, scale=1.0),
        c0=draw(D, B, H, scale=1.0),
        lengths=torch.tensor(lengths, dtype=torch.int64),
    )


def run_and_differentiate(run, arguments, seed=0):
    """``hidden``, ``c_n`` and the gradients of all tensors, by name, for random errors at both."""
    leaves = arguments.map(lambda x: x.detach().clone().requires_grad_())
    hidden, c_n, *_ = run(leaves)
    generator = torch.Generator().manual_seed(seed)
    errors = [
        torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y) for y in (hidden, c_n)
    ]
    flows = [(y, e) for y, e in zip((hidden, c_n), errors, strict=True) if y.requires_grad]
    torch.autograd.backward(*zip(*flows, strict=True))
    found = {"hidden": hidden.detach(), "c_n": c_n.detach()}
    for name in NAMES:
        leaf = getattr(leaves, name)
        if leaf is not None:
            found[f"grad {name}"] = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
    return found


SUMMED = ("grad weight_hh", "grad peephole", "grad weight_hr")


def assert_agrees_with_float64(operator, arguments, *, dtype=torch.float32, tolerance=1e-5):
    """Values and gradients of ``operator`` equal autograd's through the reference in float64.

    ``tolerance`` is relative to each tensor's largest magnitude. Inputs and errors are of order 1,
    so what is smaller than a tenth came from cancellation, which float32 resolves no better. The
    gradient of a weight sums one such term for each frame, and their errors may add up.
    """
    expected = run_and_differentiate(reference.forward, arguments)
    narrow = arguments.map(lambda x: x.to(dtype))
    actual = run_and_differentiate(lambda a: operator(*a, True), narrow)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        terms = max(1, int(arguments.lengths.sum())) if name in SUMMED else 1
        scale = max(value.abs().max().item(), 0.1 * terms) if value.numel() else 1.0
        error = (actual[name].double() - value).abs().max().item() if value.numel() else 0.0
        assert error <= tolerance * scale, f"{name} is off by {error / scale:.2g}"


def run_with_vectors(target, code):
    """Run ``code`` in a process of its own, where torch is told to use no wider vectors than
    ``target``'s. Torch believes that it may use what it is told, whatever the processor has; the
    library must not. Skip if the processor has less. ``code`` finds this folder's modules.
    """
    if library.MISSING:
        pytest.skip(f"no compiled kernel: {library.MISSING}")
    check = (
        "import sys; from asr.nn.kernels import library\n"
        f"if '{target}' not in library.PATH.name: sys.exit('skip')\n"
        "sys.path.insert(0, 'tests/asr/nn')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check + code],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "ATEN_CPU_CAPABILITY": target},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stderr.startswith("skip"):
        pytest.skip(f"the processor has no {target}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def with_vectors():
    return run_with_vectors


@pytest.fixture(scope="session")
def arguments_of():
    return make_arguments


@pytest.fixture(scope="session")
def differentiate():
    return run_and_differentiate


@pytest.fixture(scope="session")
def agrees_with_float64():
    return assert_agrees_with_float64


@contextmanager
def set_threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def threads_set_to():
    return set_threads


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These tensors are tiny: threads would only wait for each other on a busy machine."""
    with set_threads(1):
        yield


@pytest.fixture(scope="session")
def stack_of():
    """Makes a small stack whose peepholes, if any, are not 0; the peer too."""

    def make(cell, **options):
        torch.manual_seed(5)
        if cell == "torch-lstm":
            return TorchLSTMStack(4, 5, num_layers=2, bidirectional=True)
        stack = RecurrentStack(
            4, 5, num_layers=2, bidirectional=True, batch_first=True, cell=cell, **options
        )
        with torch.no_grad():
            for layer in stack.layers:
                if layer.peephole is not None:
                    layer.peephole.normal_()
        return stack

    return make
