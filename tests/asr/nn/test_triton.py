"""The GPU's kernel: on a GPU where there is one, else in Triton's interpreter on the CPU."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asr.nn.cells import CELLS
from asr.nn.kernels import reference, triton
from asr.nn.kernels.operator import define
from asr.nn.kernels.triton import Device, Work, plan
from asr.types import ConfigError, ModelError

ROOT = Path(__file__).parents[3]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

needs_triton = pytest.mark.skipif(triton.MISSING is not None, reason="triton is not installed")

OPERATORS = {
    name: define(
        f"triton_{name}",
        partial(triton.forward, persistent=persistent),
        partial(triton.backward, persistent=persistent),
    )
    for name, persistent in (("one_launch", True), ("a_launch_a_step", False))
}
needs_gpu = pytest.mark.skipif(DEVICE != "cuda", reason="there is no GPU")
BF16 = 2**-8  # from 1 to the next bfloat16


@pytest.fixture(scope="session", params=OPERATORS)
def operator(request):
    """Either way to launch, with tensors from and to the CPU."""

    def run(*values):
        there = (x.to(DEVICE) if isinstance(x, torch.Tensor) else x for x in values)
        return [y.cpu() for y in OPERATORS[request.param](*there)]

    return run


@needs_triton
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_equals_the_float64_reference(operator, cell, arguments_of, agrees_with_float64):
    agrees_with_float64(operator, arguments_of(cell, [4, 1, 0, 3], H=17, padding=1))


@needs_triton
@given(
    cell=st.sampled_from(list(CELLS)),
    lengths=st.lists(st.integers(0, 3), min_size=2, max_size=5),
    padding=st.integers(0, 1),
    D=st.integers(1, 2),
    H=st.sampled_from([3, 17, 40]),
    seed=st.integers(0, 1000),
)
@example(cell="peephole", lengths=[2] * 16 + [1], padding=0, D=2, H=3, seed=0)  # two blocks of rows
@example(cell="coupled", lengths=[1], padding=0, D=1, H=1, seed=0)
@settings(max_examples=6, deadline=None)
def test_float32_values_and_gradients_equal_the_float64_reference(
    operator, cell, lengths, padding, D, H, seed, arguments_of, agrees_with_float64
):
    agrees_with_float64(operator, arguments_of(cell, lengths, D=D, H=H, padding=padding, seed=seed))


@needs_triton
@needs_gpu
@pytest.mark.parametrize(("cell", "H"), [("peephole", 320), ("coupled", 250), ("rnn", 320)])
def test_many_programs_that_wait_for_each_other_agree_with_float64(
    cell, H, arguments_of, agrees_with_float64, differentiate
):
    """Twenty slices of cells and two blocks of rows; a race would also move bits between runs."""
    lengths = [100, *range(1, 96, 5)]
    arguments = arguments_of(cell, lengths, H=H)

    def run(*values):
        there = (x.to(DEVICE) if isinstance(x, torch.Tensor) else x for x in values)
        return [y.cpu() for y in triton.operator(*there)]

    agrees_with_float64(run, arguments)
    narrow = arguments.map(torch.Tensor.float)
    once, again = (differentiate(lambda a: run(*a, True), narrow) for _ in range(2))
    assert all(torch.equal(once[name], again[name]) for name in once)


@needs_triton
@pytest.mark.parametrize("cell", ["rnn", "peephole"])
def test_bfloat16_is_as_near_to_float64_as_its_digits_allow(
    operator, cell, arguments_of, agrees_with_float64
):
    """Values to 2 and gradients to 8 epsilons of the largest.

    A hidden vector is rounded once a step, by half an epsilon. These weights contract and the
    forget gates keep less than 3/4 of the state, so what the steps add up to is below
    1 / (1 - 3/4) = 4 roundings. A gradient is a product of up to four such numbers, activations
    that were rounded again when they were stored.
    """

    def run(cell, gates, weight_hh, peephole, weight_hr, h0, c0, lengths, training):
        peephole, c0 = (None if x is None else x.float() for x in (peephole, c0))
        return operator(cell, gates, weight_hh, peephole, weight_hr, h0, c0, lengths, training)

    arguments = arguments_of(cell, [4, 1, 0, 3], H=17).map(lambda x: x.bfloat16().double())
    agrees_with_float64(run, arguments, dtype=torch.bfloat16, tolerance=8 * BF16)
    narrow = arguments.map(torch.Tensor.bfloat16)
    hidden = run(*narrow, False)[0]
    expected = reference.forward(arguments, False).hidden
    assert (hidden.double() - expected).abs().max() <= 2 * BF16 * expected.abs().max()


@needs_triton
def test_the_cell_state_stays_float32_among_bfloat16(operator, arguments_of):
    """With weights of zero nothing is rounded to bfloat16 on the way to the cell state."""
    arguments = arguments_of("lstm-1997", [12], H=5)
    arguments = arguments._replace(
        gates=arguments.gates.abs().bfloat16().double(),  # all terms of the sum positive
        weight_hh=torch.zeros_like(arguments.weight_hh),
        c0=arguments.c0.float().double(),
    )
    i, z, _ = arguments.gates.chunk(3, dim=-1)
    expected = arguments.c0 + (i.sigmoid() * z.tanh()).sum(0).transpose(0, 1)
    narrow = arguments.map(torch.Tensor.bfloat16)._replace(c0=arguments.c0.float())
    c_n = operator(*narrow, False)[1]
    assert (c_n - expected).abs().max() <= 1e-6 * expected.abs().max()


@needs_triton
def test_nothing_beyond_a_length_is_read_or_left_unwritten(operator, arguments_of):
    arguments = arguments_of("peephole", [3, 1], H=6, padding=1).map(torch.Tensor.float)
    padded = torch.arange(4).view(-1, 1) >= arguments.lengths  # (T, B)
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


@needs_triton
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_extreme_net_inputs_saturate(operator, size, arguments_of):
    arguments = arguments_of("peephole", [2, 2], H=4).map(torch.Tensor.float)
    arguments = arguments._replace(gates=(arguments.gates * size).requires_grad_())
    hidden, *_ = operator(*arguments, True)
    hidden.sum().backward()
    assert hidden.abs().max() <= 1
    assert arguments.gates.grad.isfinite().all()


@needs_triton
def test_no_frames_give_no_outputs_and_leave_the_state(operator, arguments_of):
    arguments = arguments_of("lstm", [0, 0], H=4).map(lambda x: x.float().requires_grad_())
    hidden, c_n, *_ = operator(*arguments, True)
    assert hidden.shape == (0, 2, 2, 4)
    assert torch.equal(c_n, arguments.c0)
    c_n.sum().backward()
    assert not arguments.weight_hh.grad.any()
    assert torch.equal(arguments.c0.grad, torch.ones_like(arguments.c0))


@needs_triton
@pytest.mark.parametrize("cell", ["rnn", "peephole"])
def test_torch_finds_no_fault_with_the_operator(cell, arguments_of):
    arguments = arguments_of(cell, [2, 1, 0]).map(torch.Tensor.float)
    for training in (True, False):
        leaves = arguments.map(lambda x: x.to(DEVICE, copy=True).requires_grad_(training))  # noqa: B023
        leaves = leaves._replace(lengths=leaves.lengths.to(DEVICE))
        torch.library.opcheck(triton.operator, (*leaves, training))


@needs_triton
def test_a_projection_is_refused(operator, arguments_of):
    arguments = arguments_of("lstm", [2], proj_size=2).map(torch.Tensor.float)
    with pytest.raises(ModelError, match="projection"):
        operator(*arguments, False)


def test_without_triton_the_remedy_is_named(monkeypatch, arguments_of):
    monkeypatch.setattr(triton, "MISSING", "install triton")
    with pytest.raises(ConfigError, match="install triton"):
        triton.operator(*arguments_of("lstm", [2]).map(torch.Tensor.float), False)


def test_the_modules_can_be_imported_without_triton():
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "from asr.nn.kernels import triton, triton_kernels\n"
        "assert triton.MISSING"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# Plans

H100 = Device(processors=132, shared_memory=227 * 1024)
SMALL = Device(processors=20, shared_memory=99 * 1024)


def work(B, D, H, *, gates=4, element=2, back=False):
    return (Work.back if back else Work.forward)(B, D, H, gates, element)


@given(
    B=st.integers(1, 300),
    D=st.integers(1, 2),
    H=st.integers(1, 3000),
    gates=st.sampled_from([1, 3, 4]),
    element=st.sampled_from([2, 4, 8]),
    back=st.booleans(),
    device=st.sampled_from([H100, SMALL]),
    persistent=st.sampled_from([None, False]),
)
@settings(max_examples=200, deadline=None)
def test_programs_that_wait_for_each_other_are_on_the_gpu_at_once(
    B, D, H, gates, element, back, device, persistent
):
    layer = work(B, D, H, gates=gates, element=element, back=back)
    division = plan(layer, device, persistent)
    assert division.slices(layer) * division.cells >= H
    assert division.shared_memory(layer) <= device.shared_memory
    if division.persistent:
        assert division.slices(layer) * D * division.blocks <= device.processors
    else:
        assert not division.resident
        assert division.blocks * division.rows >= B


@pytest.mark.parametrize("B", [16, 32, 64])
@pytest.mark.parametrize("H", [320, 512])
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("element", [2, 4])
def test_common_layers_are_one_launch_and_keep_their_weights_on_chip(B, H, back, element):
    layer = work(B, 2, H, back=back, element=element)
    division = plan(layer, H100)
    assert division.persistent
    assert division.resident
    assert division.blocks * division.rows >= B


def test_a_layer_of_more_slices_than_multiprocessors_is_a_launch_a_step():
    assert not plan(work(16, 2, 2048), SMALL).persistent
    assert plan(work(16, 2, 320), SMALL).persistent


def test_more_rows_than_fit_at_once_go_in_turn():
    layer = work(2000, 2, 512)
    division = plan(layer, H100)
    assert division.persistent
    assert 0 < division.blocks * division.rows < 2000


def test_a_device_too_small_for_any_plan_is_refused():
    with pytest.raises(ConfigError, match="512 cells"):
        plan(work(16, 2, 512), Device(processors=1, shared_memory=1024))


COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from asr.nn.kernels import triton as ours, triton_kernels

def compile(kernel, cell, element, H, capability, back):
    gates = len(ours.CELLS[cell].gates)
    work = (ours.Work.back if back else ours.Work.forward)(32, 2, H, gates, element)
    plan = ours.plan(work, ours.Device(100, 160 * 1024))
    precision = {2: "tf32", 4: "tf32", 8: "tf32x3"}[element]
    constants = ours._constants(cell, work, plan, precision) | {"KEEP": True}
    kernel = getattr(triton_kernels, kernel)
    wide = "peephole c_n cells c0 grad_h grad_c grad_peephole".split()
    types = {"lengths": "*i64", "arrived": "*i32", **dict.fromkeys(wide, "*fp32")}
    types |= dict.fromkeys("T B start stop first_row".split(), "i32")
    types |= dict.fromkeys(constants, "constexpr")
    names = kernel.arg_names
    narrow = "*bf16" if element == 2 else "*fp32"
    options = {k: constants[k] for k in ("num_warps", "num_stages", "launch_cooperative_grid")}
    source = ASTSource(
        kernel,
        {name: types.get(name, narrow) for name in names},
        {name: constants[name] for name in names if name in constants},
        {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if "*" in types.get(n, "*")},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert compiled.metadata.shared <= plan.shared_memory(work), (compiled.metadata.shared, plan)
    assert "mma.sync" in compiled.asm["ptx"]

for kernel, back in (("forward_steps", False), ("backward_steps", True)):
    compile(kernel, "peephole", 2, 320, 90, back)
    compile(kernel, "coupled", 4, 320, 80, back)
    compile(kernel, "rnn", 8, 40, 80, back)
"""


@needs_triton
def test_the_kernels_compile_for_gpus_within_the_shared_memory_planned(tmp_path):
    """In a process of its own, where nothing is interpreted. It needs no GPU."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        cwd=ROOT,
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
