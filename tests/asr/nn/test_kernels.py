"""Kernels against the float64 reference, as operators of torch, and behind their registry."""

import ctypes
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.nn import kernels
from asr.nn.cells import CELLS
from asr.nn.kernels import KERNELS, VARIABLE, Kernel, choose, library, reference
from asr.nn.kernels.operator import Arguments
from asr.types import ConfigError, ModelError

HERE = [name for name, kernel in KERNELS.items() if "cpu" in (kernel.devices or ("cpu",))]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session", params=HERE)
def operator(request):
    """The operator of each kernel that runs on the CPU."""
    if reason := KERNELS[request.param].missing:
        pytest.skip(f"the kernel {request.param!r} is not here: {reason}")
    return KERNELS[request.param].operator


@pytest.mark.parametrize("D", [1, 2])
@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_the_reference_equal_finite_differences(cell, proj_size, D, arguments_of):
    arguments = arguments_of(cell, [4, 1, 3, 0], D=D, proj_size=proj_size, padding=1)
    present = [x for x in arguments[1:-1] if x is not None]

    def run(*tensors):
        given = iter(tensors)
        filled = (None if x is None else next(given) for x in arguments[1:-1])
        return reference.operator(cell, *filled, arguments.lengths, True)[:2]

    assert torch.autograd.gradcheck(run, [x.requires_grad_() for x in present])


@pytest.mark.parametrize("cell", CELLS)
def test_autograd_differentiates_the_reference_twice(cell, arguments_of):
    """What the refusal of second derivatives names as the remedy."""
    arguments = arguments_of(cell, [3, 1], H=2)
    present = [x for x in arguments[1:-1] if x is not None]

    def run(*tensors):
        given = iter(tensors)
        filled = (None if x is None else next(given) for x in arguments[1:-1])
        return reference.forward(Arguments(cell, *filled, arguments.lengths))[:2]

    assert torch.autograd.gradgradcheck(run, [x.requires_grad_() for x in present])


def test_second_derivatives_of_an_operator_are_refused(operator, arguments_of):
    arguments = arguments_of("peephole", [4, 2]).map(lambda x: x.float().requires_grad_())
    hidden, *_ = operator(*arguments, True)
    (gradient,) = torch.autograd.grad(hidden.sum(), arguments.gates, create_graph=True)
    with pytest.raises(ModelError, match="no second derivatives"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("cell", CELLS)
@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=9),
    padding=st.integers(0, 3),
    D=st.integers(1, 2),
    H=st.integers(1, 40),
    projection=st.integers(0, 20),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_float32_values_and_gradients_equal_the_float64_reference(
    operator, cell, lengths, padding, D, H, projection, threads, seed, arguments_of,
    agrees_with_float64, threads_set_to,
):  # fmt: skip
    arguments = arguments_of(
        cell, lengths, D=D, H=H, proj_size=projection % H, padding=padding, seed=seed
    )
    with threads_set_to(threads):
        agrees_with_float64(operator, arguments)


@pytest.mark.parametrize("target", ["avx512", "avx2", "default"])
def test_every_width_of_vectors_agrees_with_the_reference(target, with_vectors):
    with_vectors(
        target,
        "import conftest; from asr.nn.kernels.cpu import operator;"
        "[conftest.assert_agrees_with_float64(operator, conftest.make_arguments("
        "cell, [7, 1, 9, 3, 9, 2, 5], H=H, proj_size=p))"
        " for cell in conftest.CELLS for H, p in ((5, 0), (16, 0), (37, 9))]",
    )


@pytest.mark.parametrize("processor", [0, 1, 2, 3])
@pytest.mark.parametrize("told", ["DEFAULT", "AVX2", "AVX512", "nonsense"])
def test_vectors_are_never_wider_than_the_processor_has(processor, told, monkeypatch):
    """With a processor of the test's choice in the place of this one."""
    if library.MISSING:
        pytest.skip(f"no compiled kernel: {library.MISSING}")
    stand_in = SimpleNamespace(
        recurrence_vectors=lambda: processor, recurrence_interface=lambda: library.INTERFACE
    )
    monkeypatch.setattr(library.ctypes, "CDLL", lambda path: stand_in)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: told)
    monkeypatch.setattr(library, "_built", lambda target: Path(target))
    allowed = {"AVX2": 1, "AVX512": 3}.get(told, 0)
    expected = ["default", "avx2", "avx512", "avx512vnni"][min(processor, allowed)]
    assert library._find() == Path(expected)


@pytest.mark.parametrize(
    "stale",
    [
        SimpleNamespace(recurrence_vectors=lambda: 0),
        SimpleNamespace(recurrence_vectors=lambda: 0, recurrence_interface=lambda: 99),
    ],
)
def test_a_library_of_another_version_is_not_used(stale, monkeypatch):
    monkeypatch.setattr(library.ctypes, "CDLL", lambda path: stale)
    monkeypatch.setattr(library, "_built", lambda target: Path(target))
    assert library._find() is None


def test_what_the_processor_has_is_what_its_system_says():
    if library.MISSING or not Path("/proc/cpuinfo").is_file():
        pytest.skip("no compiled kernel, or no list of the processor's abilities")
    flags = set(Path("/proc/cpuinfo").read_text().split())
    has_avx2 = {"avx2", "fma"} <= flags
    has_avx512 = has_avx2 and {"avx512f", "avx512vl", "avx512dq", "avx512bw"} <= flags
    has_vnni = has_avx512 and "avx512_vnni" in flags
    default = ctypes.CDLL(str(library._built("default")))
    assert default.recurrence_vectors() == has_avx2 + has_avx512 + has_vnni


@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=13), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_cpu_kernel_gives_the_same_bits_in_any_batch_and_on_any_number_of_threads(
    lengths, seed, arguments_of, threads_set_to
):
    if library.MISSING:
        pytest.skip(f"no compiled kernel: {library.MISSING}")
    operator = KERNELS["cpu"].operator
    batch = arguments_of("peephole", lengths, H=21, padding=2, seed=seed).map(torch.Tensor.float)
    with threads_set_to(3):
        hidden = operator(*batch, False)[0]
    for b, length in enumerate(lengths):
        alone = batch._replace(
            gates=batch.gates[:length, b : b + 1],
            h0=batch.h0[:, b : b + 1],
            c0=batch.c0[:, b : b + 1],
            lengths=batch.lengths[b : b + 1],
        )
        with threads_set_to(1):
            assert torch.equal(operator(*alone, False)[0][:, 0], hidden[:length, b])


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_beyond_a_length_is_read_or_left_unwritten(operator, cell, arguments_of):
    arguments = arguments_of(cell, [5, 2], H=6, padding=3).map(torch.Tensor.float)
    padded = torch.arange(8).view(-1, 1) >= arguments.lengths  # (T, B)
    rubbish = arguments._replace(
        gates=arguments.gates.masked_fill(padded[..., None, None], float("nan")).requires_grad_()
    )
    hidden, c_n, *_ = operator(*rubbish, True)
    expected, expected_c, *_ = operator(*arguments, False)
    assert torch.equal(hidden, expected)
    assert torch.equal(c_n, expected_c)
    assert not hidden[padded].any()
    (hidden.sum() + c_n.sum()).backward()
    assert rubbish.gates.grad.isfinite().all()
    assert not rubbish.gates.grad[padded].any()


@pytest.mark.parametrize("cell", CELLS)
def test_no_frames_give_no_outputs_and_leave_the_state(operator, cell, arguments_of):
    arguments = arguments_of(cell, [0, 0], H=4).map(torch.Tensor.float)
    hidden, c_n, *_ = operator(*arguments, False)
    assert hidden.shape == (0, 2, 2, 4)
    assert torch.equal(c_n, arguments.c0)


@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_torch_finds_no_fault_with_the_operators(operator, cell, proj_size, arguments_of):
    arguments = arguments_of(cell, [4, 1, 3], proj_size=proj_size).map(torch.Tensor.float)
    for training in (True, False):
        leaves = arguments.map(lambda x: x.clone().requires_grad_(training))  # noqa: B023
        torch.library.opcheck(operator, (*leaves, training))


def test_a_run_for_inference_has_no_gradient(operator, arguments_of):
    arguments = arguments_of("peephole", [3]).map(lambda x: x.float().requires_grad_())
    with pytest.raises(RuntimeError, match="inference"):
        operator(*arguments, False)


@pytest.mark.parametrize(
    "change",
    [
        {"weight_hh": torch.zeros(2, 12, 4)},
        {"weight_hh": torch.zeros(2, 8, 3)},
        {"peephole": None},
        {"peephole": torch.zeros(2, 2, 3)},
        {"weight_hr": torch.zeros(2, 2, 3)},
        {"h0": torch.zeros(2, 2, 3)},
        {"c0": torch.zeros(1, 3, 3)},
        {"lengths": torch.tensor([4, 2])},
        {"gates": torch.zeros(4, 3, 2, 12, dtype=torch.float64)},
    ],
)
def test_compiled_code_gets_only_tensors_that_fit(change, arguments_of):
    if library.MISSING:
        pytest.skip(f"no compiled kernel: {library.MISSING}")
    arguments = arguments_of("peephole", [4, 2, 1]).map(torch.Tensor.float)
    with pytest.raises(ModelError):
        KERNELS["cpu"].operator(*arguments._replace(**change), False)


# The registry


def test_auto_takes_the_compiled_kernel_for_float32_and_the_reference_for_the_rest():
    fastest = "cpu" if library.MISSING is None else "reference"
    assert choose("auto", torch.zeros(1)) is KERNELS[fastest].operator
    assert choose("auto", torch.zeros(1).double()) is KERNELS["reference"].operator


def test_a_name_chooses_and_the_environment_stands_in_for_auto_alone(monkeypatch):
    monkeypatch.setenv(VARIABLE, "reference")
    assert choose("auto", torch.zeros(1)) is KERNELS["reference"].operator
    if library.MISSING is None:
        assert choose("cpu", torch.zeros(1)) is KERNELS["cpu"].operator


@pytest.mark.parametrize("name", ["warp", "bptt"])
def test_an_unknown_kernel_is_refused_with_the_names_of_those_there(name, monkeypatch):
    with pytest.raises(ConfigError, match="reference"):
        choose(name, torch.zeros(1))
    monkeypatch.setenv(VARIABLE, name)
    with pytest.raises(ConfigError, match="reference"):
        choose("auto", torch.zeros(1))


@pytest.mark.parametrize(
    ("name", "gates", "options", "reason"),
    [
        ("triton", torch.zeros(1), {}, "does not run on cpu"),
        ("cpu", torch.zeros(1).double(), {}, "float64"),
        ("cpu", torch.zeros(1, device="meta"), {}, "does not run on meta"),
    ],
)
def test_a_kernel_that_cannot_is_refused_with_the_reason(name, gates, options, reason):
    with pytest.raises(ConfigError, match=reason):
        choose(name, gates, **options)


def test_without_a_compiled_kernel_training_goes_on_and_says_once_that_it_is_slow(monkeypatch):
    monkeypatch.setattr(kernels, "_warned", set())
    absent = Kernel(None, devices=("cpu",), missing="install a compiler")
    monkeypatch.setitem(KERNELS, "cpu", absent)
    gates = torch.zeros(1, requires_grad=True)
    with pytest.raises(ConfigError, match="install a compiler"):
        choose("cpu", gates)
    with pytest.warns(RuntimeWarning, match=r"slow.*'cpu': install a compiler"):
        assert choose("auto", gates) is KERNELS["reference"].operator
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose("auto", gates)
        choose("auto", torch.zeros(1))
