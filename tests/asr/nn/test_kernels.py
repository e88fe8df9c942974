"""Kernels against float64, and gradients against finite differences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.nn.kernels import KERNELS, get_kernel
from asr.types import ConfigError

FAST = sorted(set(KERNELS) - {"reference"})


def random_arguments(D, T, B, H, *, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return [
        tensor.requires_grad_()
        for tensor in (draw(D, T, B, 4 * H), draw(D, 4 * H, H), draw(D, 3, H))
    ]


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 4, 3, 2), (1, 5, 2, 3)])
def test_gradients_equal_finite_differences(name, shape):
    assert torch.autograd.gradcheck(KERNELS[name], random_arguments(*shape))


@pytest.mark.parametrize("name", FAST)
@given(
    D=st.integers(1, 2),
    T=st.integers(1, 30),
    B=st.integers(1, 5),
    H=st.integers(1, 17),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_float32_values_and_gradients_equal_the_float64_reference(name, D, T, B, H, seed):
    exact = random_arguments(D, T, B, H, seed=seed)
    with torch.no_grad():
        for tensor in exact:  # a recurrence that contracts, so float32 errors do not grow
            tensor.mul_(0.5 if tensor.dim() == 4 else 0.5 / H**0.5)
    single = [tensor.detach().float().requires_grad_() for tensor in exact]
    expected = KERNELS["reference"](*exact)
    actual = KERNELS[name](*single)
    error = torch.linspace(-1, 1, expected.numel(), dtype=torch.float64).view_as(expected)
    expected.backward(error)
    actual.backward(error.float())
    assert_close(actual, expected)
    for mine, theirs in zip(single, exact, strict=True):
        assert_close(mine.grad, theirs.grad)


def assert_close(actual, expected):
    scale = max(expected.abs().max().item(), 1e-3)
    assert (actual.double() - expected).abs().max().item() <= 1e-5 * scale


@pytest.mark.parametrize("name", KERNELS)
def test_no_steps_give_no_outputs(name):
    gates, weight, peephole = random_arguments(2, 3, 2, 4)
    assert KERNELS[name](gates[:, :0], weight, peephole).shape == (2, 0, 2, 4)


def test_an_unknown_kernel_is_refused_with_the_names_of_those_there():
    with pytest.raises(ConfigError, match="reference"):
        get_kernel("warp")
