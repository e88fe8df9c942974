"""The recurrent stack as torch's machinery sees it: second derivatives, functions of weights,
compilation, export, autocast, several processes.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call

from asr.nn.kernels import library
from asr.nn.recurrent import RecurrentStack
from asr.types import ModelError

ROOT = Path(__file__).parents[3]
EXACT = {"atol": 1e-5, "rtol": 0}


# Derivatives


def _penalty(stack, x):
    (gradient,) = torch.autograd.grad(stack(x)[0].sum(), x, create_graph=True)
    gradient.square().sum().backward()


@pytest.mark.parametrize("kernel", ["auto", "reference"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(
    "use",
    [
        _penalty,
        lambda stack, x: torch.autograd.functional.hessian(lambda y: stack(y)[0].sum(), x),
        lambda stack, x: torch.autograd.functional.hessian(lambda y: stack(y)[1][1].sum(), x),
    ],
    ids=["gradient penalty", "hessian of outputs", "hessian of states"],
)
def test_second_derivatives_are_refused_and_never_wrong(kernel, recompute, use):
    stack = RecurrentStack(4, 5, 2, bidirectional=True, kernel=kernel, recompute=recompute)
    with pytest.raises(ModelError, match="no second derivatives"):
        use(stack, torch.randn(6, 2, 4, requires_grad=True))


@pytest.mark.parametrize("kernel", ["auto", "reference"])
def test_a_gradient_may_be_part_of_a_graph_that_is_not_differentiated_again(kernel):
    stack = RecurrentStack(4, 5, kernel=kernel)
    x = torch.randn(6, 2, 4, requires_grad=True)
    plain, in_graph = (
        torch.autograd.grad(stack(x)[0].sum(), x, create_graph=graph)[0] for graph in (False, True)
    )
    assert torch.equal(plain, in_graph)


def test_functional_gradients_equal_torchs():
    if library.MISSING:
        pytest.skip(f"no compiled kernel: {library.MISSING}")
    theirs = nn.LSTM(7, 6, bidirectional=True)
    mine = RecurrentStack(7, 6, bidirectional=True, cell="lstm")
    mine.load_torch(theirs)
    x = torch.randn(9, 5, 7)

    def gradients(module):
        weights = {name: p.detach() for name, p in module.named_parameters()}
        return torch.func.grad(lambda w: functional_call(module, w, (x,))[0].sin().sum())(weights)

    found, expected = gradients(mine), gradients(theirs)
    for d, suffix in enumerate(["", "_reverse"]):
        for name, other in (("weight_ih",) * 2, ("weight_hh",) * 2, ("bias", "bias_ih")):
            torch.testing.assert_close(
                found[f"layers.0.{name}"][d], expected[f"{other}_l0{suffix}"], atol=1e-4, rtol=1e-5
            )


# Compilation, types, processes


def test_compilation_sees_one_graph_and_changes_nothing(stack_of):
    stack = stack_of("peephole")
    compiled = torch.compile(stack, backend="aot_eager", fullgraph=True)
    x, lengths = torch.randn(3, 7, 4), torch.tensor([7, 2, 5])
    for run in (stack, compiled):
        stack.zero_grad()
        output, _ = run(x, lengths=lengths)
        output.square().sum().backward()
        gradients = [p.grad.clone() for p in stack.parameters()]
        if run is stack:
            expected = output.detach(), gradients
    torch.testing.assert_close((output.detach(), gradients), expected, **EXACT)


def test_an_exported_program_serves_other_batches_and_holds_the_operator_once_a_layer(stack_of):
    stack = stack_of("peephole").eval().requires_grad_(False)
    B, T = torch.export.Dim("B", min=1), torch.export.Dim("T", min=1)
    program = torch.export.export(
        stack,
        (torch.randn(3, 7, 4),),
        {"lengths": torch.tensor([7, 2, 5])},
        dynamic_shapes={"x": {0: B, 1: T}, "lengths": {0: B}},
    )
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert sum("peephole_asr.recurrence" in name for name in calls) == 2
    x, lengths = torch.randn(5, 11, 4), torch.tensor([11, 3, 1, 7, 2])
    torch.testing.assert_close(
        program.module()(x, lengths=lengths), stack(x, lengths=lengths), **EXACT
    )


def test_autocast_keeps_the_state_in_float32(stack_of):
    stack = stack_of("peephole")
    x = torch.randn(3, 50, 4)
    exact, _ = stack(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, (_, c) = stack(x)
    assert output.dtype == torch.bfloat16
    assert c.dtype == torch.float32
    # Inputs, weights and outputs are rounded to 8 bits in both layers, the sums are not.
    assert (output.float() - exact).abs().max() < 8 * 2**-8


@pytest.mark.parametrize("lengths", [None, [6, 0, 2], [0, 0, 0]])
@pytest.mark.parametrize(
    ("dtype", "autocast"), [(torch.float16, False), (torch.bfloat16, False), (torch.bfloat16, True)]
)
def test_the_hidden_state_has_the_outputs_type_as_torchs(dtype, lengths, autocast):
    theirs, mine = nn.LSTM(4, 5), RecurrentStack(4, 5, cell="lstm")
    x, lengths = torch.randn(6, 3, 4), None if lengths is None else torch.tensor(lengths)
    if not autocast:
        theirs, mine, x = theirs.to(dtype), mine.to(dtype), x.to(dtype)
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        expected, (expected_h, _) = theirs(x)
        output, (h, c) = mine(x, lengths=lengths)
        again, _ = mine(x, (h, c), lengths=lengths)
        no_frames, (h_0, _) = mine(x[:0])
    assert output.dtype == h.dtype == expected.dtype == expected_h.dtype == dtype
    assert again.dtype == no_frames.dtype == h_0.dtype == dtype
    assert c.dtype == torch.float32
    if lengths is None:
        assert torch.equal(h[0], output[-1])


def test_autocast_rounds_gradients_of_weights_and_no_more(stack_of):
    stack = stack_of("peephole")
    x = torch.randn(3, 50, 4)
    gradients = []
    for half in (False, True):
        stack.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            output, _ = stack(x)
        output.float().square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in stack.named_parameters()})
    for name, exact in gradients[0].items():
        rounded = gradients[1][name]
        assert rounded.dtype == torch.float32
        assert (rounded - exact).norm() < 4 * 2**-8 * exact.norm(), name


DISTRIBUTED = """
import sys
import torch
from torch.nn.parallel import DistributedDataParallel
from asr.nn.recurrent import RecurrentStack

rank, meeting = int(sys.argv[1]), sys.argv[2]
torch.manual_seed(0)
stack = RecurrentStack(4, 5, 2, bidirectional=True, batch_first=True)
x, lengths = torch.randn(4, 6, 4), torch.tensor([6, 1, 3, 5])
stack(x, lengths=lengths)[0].square().sum().backward()
expected = [p.grad / 2 for p in stack.parameters()]
stack.zero_grad()
torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
mine = slice(rank, None, 2)
replica = DistributedDataParallel(stack)
replica(x[mine], lengths=lengths[mine])[0].square().sum().backward()
for p, gradient in zip(stack.parameters(), expected):
    torch.testing.assert_close(p.grad, gradient, atol=1e-5, rtol=1e-5)
torch.distributed.destroy_process_group()
"""


def test_two_processes_share_one_gradient(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DISTRIBUTED, str(rank), f"file://{tmp_path}/meeting"],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint
