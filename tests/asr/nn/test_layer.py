"""A layer in one pass from its input: against the float64 reference, in any batch, once packed."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call

from asr.backends import make_backend, make_chunk_backend
from asr.nn.cells import CELLS
from asr.nn.kernels import layer, library, reference
from asr.nn.kernels.layer import LayerWeights
from asr.nn.kernels.operator import Arguments
from asr.nn.layer import RecurrentLayer
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from asr.nn.recurrent import RecurrentStack
from asr.types import ConfigError, ModelError

pytestmark = pytest.mark.skipif(
    library.MISSING is not None, reason=f"no compiled kernel: {library.MISSING}"
)
ROOT = Path(__file__).parents[3]
SIZES = {"D": st.integers(1, 2), "H": st.integers(1, 40), "I": st.integers(1, 40)}
LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=9)


def make_layer(cell, lengths, *, D=2, H=3, I=4, proj_size=0, padding=0, seed=0):  # noqa: E741
    """float64 tensors: x, weights, h0, c0; and lengths. The recurrence contracts."""
    generator = torch.Generator().manual_seed(seed)
    T, B, R = max(lengths, default=0) + padding, len(lengths), proj_size or H
    G, P = len(CELLS[cell].gates), len(CELLS[cell].peepholes)

    def draw(*shape, scale):
        return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights = LayerWeights(
        weight_ih=draw(D, G * H, I, scale=0.5 / I**0.5),
        bias=draw(D, G * H, scale=0.2),
        weight_hh=draw(D, G * H, R, scale=0.5 / R**0.5),
        peephole=draw(D, P, H, scale=0.5) if P else None,
        weight_hr=draw(D, R, H, scale=0.5 / H**0.5) if proj_size else None,
    )
    return (
        draw(T, B, I, scale=1.0),
        weights,
        draw(D, B, R, scale=1.0),
        draw(D, B, H, scale=1.0),
        torch.tensor(lengths, dtype=torch.int64),
    )


def narrow(weights):
    return LayerWeights(*(None if w is None else w.float() for w in weights))


def expected_of(cell, x, weights, h0, c0, lengths):
    """``hidden`` and ``c_n`` by plain tensor operations in the tensors' own type."""
    D, GH, _ = weights.weight_hh.shape
    gates = torch.nn.functional.linear(x, weights.weight_ih.flatten(0, 1), weights.bias.flatten())
    gates = gates.view(*x.shape[:2], D, GH)
    hidden, c_n, *_ = reference.forward(Arguments(cell, gates, *weights[2:], h0, c0, lengths))
    return hidden, c_n


def differentiate(run, x, weights, h0, c0):
    """Outputs of ``run``, and gradients of all that it gets, for random errors at both outputs."""
    given_ = [x, *weights, h0, c0]
    leaves = [None if t is None else t.detach().clone().requires_grad_() for t in given_]
    outputs = run(leaves[0], LayerWeights(*leaves[1:6]), *leaves[6:])
    generator = torch.Generator().manual_seed(1)
    errors = [torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y) for y in outputs]
    flows = [(y, e) for y, e in zip(outputs, errors, strict=True) if y.requires_grad]
    torch.autograd.backward(*zip(*flows, strict=True))
    names = ["x", *LayerWeights._fields, "h0", "c0"]
    grads = {
        f"grad {name}": torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for name, leaf in zip(names, leaves, strict=True)
        if leaf is not None
    }
    return {"hidden": outputs[0].detach(), "c_n": outputs[1].detach(), **grads}


def assert_agrees(cell, tensors):
    """Values and gradients, relative to each tensor's largest magnitude; a weight's gradient has an
    error for each frame that it sums, and what the cells carry one for each frame that it passes,
    in either direction: these grow as a random walk does. (Plain float32 operations are as far off
    after 23 frames of the cell of 1997, which forgets nothing.)
    """
    x, weights, h0, c0, lengths = tensors
    wanted = differentiate(
        lambda x, w, h, c: expected_of(cell, x, w, h, c, lengths), x, weights, h0, c0
    )
    found = differentiate(
        lambda x, w, h, c: layer.train(cell, w, x, lengths, h, c),
        x.float(), narrow(weights), h0.float(), c0.float(),
    )  # fmt: skip
    assert found.keys() == wanted.keys()
    passed = max(1.0, float(lengths.max())) ** 0.5
    for name, value in wanted.items():
        terms = max(1, int(lengths.sum())) if name[5:] in LayerWeights._fields else passed
        scale = max(value.abs().max().item(), 0.1 * terms) if value.numel() else 1.0
        error = (found[name].double() - value).abs().max().item() if value.numel() else 0.0
        assert error <= 1e-5 * scale, f"{name} is off by {error / scale:.2g}"


@pytest.mark.parametrize("cell", CELLS)
@given(
    lengths=LENGTHS, padding=st.integers(0, 3), projection=st.integers(0, 20),
    threads=st.integers(1, 3), seed=st.integers(0, 1000), **SIZES,
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_float32_values_and_gradients_equal_the_float64_reference(
    cell, lengths, padding, D, H, I, projection, threads, seed, threads_set_to  # noqa: E741
):  # fmt: skip
    sizes = {"D": D, "H": H, "I": I, "proj_size": projection % H}
    with threads_set_to(threads):
        assert_agrees(cell, make_layer(cell, lengths, padding=padding, seed=seed, **sizes))


def test_more_frames_than_are_computed_ahead_at_once():
    assert_agrees("peephole", make_layer("peephole", [500, 3, 250, 499, 0], H=5))
    assert_agrees("peephole", make_layer("peephole", [4] * 250, H=5))


@pytest.mark.parametrize("target", ["avx512", "avx2", "default"])
def test_every_width_of_vectors_agrees_with_the_reference(target, with_vectors):
    with_vectors(
        target,
        "from test_layer import *;"
        "[assert_agrees(cell, make_layer(cell, [7, 1, 9, 3, 9, 2, 5], H=H, I=I, proj_size=p))"
        " for cell in CELLS for H, I, p in ((5, 3, 0), (16, 16, 0), (37, 50, 9))]",
    )


@given(lengths=LENGTHS, seed=st.integers(0, 99), H=st.integers(1, 40), I=st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_bits_do_not_depend_on_the_batch_the_threads_or_the_layout(
    lengths, seed, H, I, threads_set_to  # noqa: E741
):  # fmt: skip
    x, weights, h0, c0, counts = make_layer("peephole", lengths, H=H, I=I, padding=2, seed=seed)
    x, weights, h0, c0 = x.float(), narrow(weights), h0.float(), c0.float()
    packed = layer.pack("peephole", weights)
    with threads_set_to(3):
        hidden = layer.run(packed, weights, x, counts, h0, c0).hidden
    rows = x.transpose(0, 1).contiguous()  # (B, T, I)
    for b, length in enumerate(lengths):
        own = slice(b, b + 1)
        alone = rows[own, :length].transpose(0, 1)
        with threads_set_to(1):
            states = h0[:, own], c0[:, own]
            one = layer.run(packed, weights, alone, counts[own], *states).hidden
            assert torch.equal(one[:, 0], hidden[:length, b])


@given(lengths=LENGTHS, split=st.integers(0, 32), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_cell_states_behind_a_number_of_frames_are_those_of_a_shorter_run(lengths, split, seed):
    x, weights, h0, c0, counts = make_layer("peephole", lengths, H=5, seed=seed)
    x, weights, h0, c0 = x.float(), narrow(weights), h0.float(), c0.float()
    packed = layer.pack("peephole", weights)
    c_split = torch.full_like(c0[0], torch.nan)
    whole_ = layer.run(packed, weights, x, counts, h0, c0, split=(split, c_split))
    first = layer.run(packed, weights, x[:split], counts.clamp(max=split), h0, c0)
    assert torch.equal(c_split, first.c_n[0])
    assert torch.equal(whole_.hidden[:split, :, 0], first.hidden[:, :, 0])


def test_nothing_beyond_a_length_is_read_or_left_unwritten():
    x, weights, h0, c0, lengths = make_layer("peephole", [3, 0, 5], padding=2)
    x, weights, h0, c0 = x.float(), narrow(weights), h0.float(), c0.float()
    packed = layer.pack("peephole", weights)
    expected = layer.run(packed, weights, x, lengths, h0, c0, keep=True)
    for b, length in enumerate(lengths):
        x[length:, b] = torch.nan
        assert (expected.hidden[length:, b] == 0).all()
    found = layer.run(packed, weights, x, lengths, h0, c0, keep=True)
    assert torch.equal(found.hidden, expected.hidden)
    assert torch.equal(found.c_n, expected.c_n)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a | {"x": a["x"].double()},
        lambda a: a | {"x": a["x"][:, :, 1:]},
        lambda a: a | {"h0": a["h0"][:1]},
        lambda a: a | {"c0": a["c0"][:, :1]},
        lambda a: a | {"lengths": a["lengths"][1:]},
        lambda a: (
            a | {"packed": layer.pack("peephole", narrow(make_layer("peephole", [], I=3)[1]))}
        ),
        lambda a: a | {"weights": a["weights"]._replace(peephole=None)},
        lambda a: a | {"weights": a["weights"]._replace(weight_ih=a["weights"].weight_ih[:1])},
        lambda a: a | {"weights": a["weights"]._replace(bias=a["weights"].bias.double())},
    ],
)
def test_compiled_code_gets_only_tensors_that_fit(change):
    x, weights, h0, c0, lengths = make_layer("peephole", [3, 2])
    given_ = {"x": x.float(), "weights": narrow(weights), "lengths": lengths}
    given_ |= {"h0": h0.float(), "c0": c0.float()}
    given_["packed"] = layer.pack("peephole", narrow(weights))
    layer.run(**given_)
    with pytest.raises(ModelError):
        layer.run(**change(given_))


# 8 bits


def levels():
    if reason := layer.int8_objection(projection=False):
        pytest.skip(reason)
    return library.count("recurrence_int8_levels")


def whole(generator, n, *shape):
    """Random multiples of 1 / ``n`` whose rows reach 1: rounding to ``n`` levels leaves them."""
    numbers = torch.randint(-n, n + 1, shape, generator=generator).double() / n
    numbers[..., 0] = 1.0
    return numbers


def exact_layer(cell, n, *, H=21, I=10):  # noqa: E741
    """A layer, three rows of two frames and states that lose nothing in 8 bits; the second step's
    hidden vector does not count, since nothing recurs from what is not of the first frame.
    """
    generator = torch.Generator().manual_seed(0)
    G, P = len(CELLS[cell].gates), len(CELLS[cell].peepholes)
    weights = LayerWeights(
        weight_ih=whole(generator, 127, 2, G * H, I),
        bias=torch.randn(2, G * H, generator=generator, dtype=torch.float64),
        weight_hh=whole(generator, 127, 2, G * H, H) / 8,
        peephole=torch.randn(2, P, H, generator=generator, dtype=torch.float64) if P else None,
        weight_hr=None,
    )
    x = 3 * whole(generator, n, 1, 3, I)
    c0 = torch.randn(2, 3, H, generator=generator, dtype=torch.float64)
    return x, weights, whole(generator, n, 2, 3, H), c0, torch.tensor([1, 1, 0])


@pytest.mark.parametrize("cell", CELLS)
def test_what_8_bits_hold_is_computed_exactly(cell):
    """Weights, inputs and hidden vectors that are whole numbers of steps, against float64."""
    x, weights, h0, c0, lengths = exact_layer(cell, levels())
    expected, c_n = expected_of(cell, x, weights, h0, c0, lengths)
    packed = layer.pack(cell, narrow(weights), int8=True)
    found = layer.run(packed, narrow(weights), x.float(), lengths, h0.float(), c0.float())
    torch.testing.assert_close(found.hidden.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.c_n.double(), c_n, rtol=1e-5, atol=1e-6)


@given(lengths=LENGTHS, seed=st.integers(0, 99), **SIZES)
@settings(max_examples=25, deadline=None)
def test_8_bits_are_near_float32_and_do_not_depend_on_the_batch(
    lengths, seed, D, H, I, threads_set_to  # noqa: E741
):  # fmt: skip
    n = levels()
    x, weights, _, c0, counts = make_layer("peephole", lengths, D=D, H=H, I=I, seed=seed, padding=1)
    x, weights, c0 = x.float(), narrow(weights), c0.float()
    h0 = torch.zeros(D, len(lengths), H)
    packed = layer.pack("peephole", weights, int8=True)
    with threads_set_to(3):
        hidden = layer.run(packed, weights, x, counts, h0, c0).hidden
    exact = layer.run(layer.pack("peephole", weights), weights, x, counts, h0, c0).hidden
    if hidden.numel():
        assert (hidden - exact).abs().max() < 5 / n
    for b, length in enumerate(lengths):
        own = slice(b, b + 1)
        with threads_set_to(1):
            one = layer.run(
                packed, weights, x[:length, own], counts[own], h0[:, own], c0[:, own]
            ).hidden
        assert torch.equal(one[:, 0], hidden[:length, b])


@pytest.mark.parametrize("target", ["avx512vnni", "avx512", "avx2"])
def test_every_instruction_for_8_bits_is_exact(target):
    names = "exact_layer, expected_of, layer, library, narrow, torch, CELLS"
    code = (
        "import sys; from asr.nn.kernels import library;"
        f"sys.exit('skip') if not library._built('{target}') else None;"
        f"library.PATH = library._built('{target}');"
        f"sys.path.insert(0, 'tests/asr/nn'); from test_layer import {names}\n"
        "for cell in CELLS:\n"
        "  a = exact_layer(cell, library.count('recurrence_int8_levels')); w = narrow(a[1])\n"
        "  p = layer.pack(cell, w, int8=True)\n"
        "  found = layer.run(p, w, a[0].float(), a[4], a[2].float(), a[3].float()).hidden\n"
        "  torch.testing.assert_close(found.double(), expected_of(cell, *a)[0], rtol=1e-5,"
        " atol=1e-6)"
    )
    wanted = {"avx512vnni": 3, "avx512": 2, "avx2": 1}[target]
    if library.count("recurrence_vectors") < wanted:
        pytest.skip(f"the processor has no {target}")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.stderr.startswith("skip"):
        pytest.skip(f"no library was built for {target}")
    assert done.returncode == 0, done.stderr


def test_silence_and_what_is_no_number_have_8_bits_too():
    levels()
    x, weights, h0, c0, lengths = make_layer("peephole", [4, 4], H=5)
    x, weights, h0, c0 = x.float(), narrow(weights), h0.float(), c0.float()
    packed = layer.pack("peephole", weights, int8=True)
    still = layer.run(packed, weights, torch.zeros_like(x), lengths, h0, c0).hidden
    assert still.isfinite().all()
    whole_ = layer.run(packed, weights, x, lengths, h0, c0).hidden
    x[:, 0] = torch.nan
    assert torch.equal(layer.run(packed, weights, x, lengths, h0, c0).hidden[:, 1], whole_[:, 1])


def test_a_projection_has_no_8_bits():
    _, weights, *_ = make_layer("peephole", [1], H=5, proj_size=2)
    with pytest.raises(ConfigError, match="projection"):
        layer.pack("peephole", narrow(weights), int8=True)


# Packed once


@pytest.fixture
def packed_layer():
    torch.manual_seed(0)
    module = RecurrentLayer(4, 5, bidirectional=True).eval()
    module.pack()
    return module


def out(module, x):
    with torch.no_grad():
        return module(x, torch.full((x.shape[1],), len(x)))[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.weight_ih.detach().mul_(2),
        lambda m: m.bias.detach().add_(1),
        lambda m: m.weight_hh.detach().mul_(2),
        lambda m: m.peephole.detach().add_(1),
        lambda m: m.load_state_dict(RecurrentLayer(4, 5, bidirectional=True).state_dict()),
        lambda m: m.reset_parameters(),
        lambda m: m.double(),
    ],
)
def test_packed_weights_are_not_used_once_the_weights_have_changed(packed_layer, change):
    x = torch.randn(6, 2, 4)
    with torch.no_grad():
        change(packed_layer)
    x = x.to(packed_layer.bias.dtype)
    fresh = RecurrentLayer(4, 5, bidirectional=True).to(x.dtype)
    fresh.load_state_dict(packed_layer.state_dict())
    assert torch.equal(out(packed_layer, x), out(fresh, x))


def test_packed_weights_are_not_used_for_others_that_lie_at_the_same_address(packed_layer):
    memory = {name: p.detach().numpy().copy() for name, p in packed_layer.named_parameters()}

    def read_memory():
        for name, values in memory.items():
            setattr(packed_layer, name, torch.nn.Parameter(torch.from_numpy(values)))

    read_memory()
    packed_layer.pack()
    memory["weight_ih"] *= 2
    read_memory()  # as where freed memory is given out again: the same addresses
    x = torch.randn(6, 2, 4)
    assert torch.equal(out(packed_layer, x), out(copy.deepcopy(packed_layer), x))


def test_packed_weights_are_used_until_then(packed_layer, monkeypatch):
    x = torch.randn(6, 2, 4)
    expected = out(packed_layer, x)
    monkeypatch.setattr("asr.nn.layer.pack", lambda *_: pytest.fail("packed again"))
    assert torch.equal(out(packed_layer, x), expected)


def test_weights_that_stand_in_for_a_call_are_the_ones_used(packed_layer):
    x, lengths = torch.randn(6, 2, 4), torch.tensor([6, 6])
    doubled = {name: 2 * weight for name, weight in packed_layer.named_parameters()}
    with torch.no_grad():
        found, _ = functional_call(packed_layer, doubled, (x, lengths))
        fresh = RecurrentLayer(4, 5, bidirectional=True)
        fresh.load_state_dict(doubled)
        assert torch.equal(found, fresh(x, lengths)[0])


def test_copies_and_pickles_pack_anew(packed_layer):
    x = torch.randn(6, 2, 4)
    for other in (copy.deepcopy(packed_layer), pickle.loads(pickle.dumps(packed_layer))):
        assert torch.equal(out(other, x), out(packed_layer, x))


def test_copies_and_pickles_of_8_bits_have_8_bits():
    levels()
    module, x = RecurrentLayer(40, 30, bidirectional=True).eval(), torch.randn(20, 2, 40)
    exact = out(module, x)
    module.pack(int8=True)
    expected = out(module, x)
    assert not torch.equal(expected, exact)
    for make in (copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))):
        copied = make(module)
        assert torch.equal(out(copied, x), expected)
        assert torch.equal(out(make(copied), x), expected)
        copied.pack()
        assert torch.equal(out(copied, x), exact)


@pytest.mark.parametrize("make", [make_backend, make_chunk_backend])
def test_a_backend_packs_its_model(make):
    model = AcousticModel(AcousticModelConfig(4, 3, NetworkConfig(5, 2))).eval()
    make("torch", model)
    stack = model.recurrent
    assert isinstance(stack, RecurrentStack)
    assert all(one._packed is not None for one in stack.layers)
