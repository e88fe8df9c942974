"""The recurrent stack against torch.nn.LSTM and nn.RNN, and its independence of the batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)

from asr.nn.cells import CELLS
from asr.nn.recurrent import RecurrentStack
from asr.nn.torch_lstm import TorchLSTMStack
from asr.types import ConfigError, ModelError

LENGTHS = torch.tensor([9, 1, 6, 9, 4])
EXACT = {"atol": 1e-5, "rtol": 0}


def state_of(rnn, B=5):
    rows = rnn.num_layers * (2 if rnn.bidirectional else 1)
    h = torch.randn(rows, B, rnn.proj_size or rnn.hidden_size)
    return h if rnn.mode == "RNN_TANH" else (h, torch.randn(rows, B, rnn.hidden_size))


def flat(results):
    """Tensors of nested results, a PackedSequence's data among them."""
    if isinstance(results, PackedSequence):
        return [results.data]
    if isinstance(results, torch.Tensor):
        return [results]
    return [x for part in results for x in flat(part)]


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    ("cell", "kind", "options"),
    [
        ("peephole", nn.LSTM, {}),
        ("lstm", nn.LSTM, {}),
        ("lstm", nn.LSTM, {"proj_size": 3}),
        ("peephole", nn.LSTM, {"proj_size": 3, "bias": False}),
        ("rnn", nn.RNN, {}),
        ("rnn", nn.RNN, {"bias": False}),
    ],
)
def test_it_equals_torch_on_packed_ragged_batches(cell, kind, bidirectional, options, with_state):
    torch.manual_seed(3)
    theirs = kind(7, 6, num_layers=3, bidirectional=bidirectional, **options)
    size = options.get("proj_size", 0)
    mine = RecurrentStack(
        7, 6, num_layers=3, bidirectional=bidirectional, cell=cell, proj_size=size
    )
    mine.load_torch(theirs)
    x = torch.randn(9, 5, 7)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    state = state_of(theirs) if with_state else None
    packs = [pack_padded_sequence(one, LENGTHS, enforce_sorted=False) for one in inputs]
    expected, actual = theirs(packs[0], state), mine(packs[1], state)
    torch.testing.assert_close(flat(actual), flat(expected), **EXACT)
    for results in (expected, actual):
        sum(y.square().sum() for y in flat(results)).backward()
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, **EXACT)
    torch.testing.assert_close(
        mine.layers[1].weight_hh.grad[0], theirs.weight_hh_l1.grad, atol=1e-4, rtol=1e-5
    )


@pytest.mark.parametrize("batch_first", [False, True])
def test_tensors_go_in_and_out_as_in_torch(batch_first):
    theirs = nn.LSTM(7, 6, bidirectional=True, batch_first=batch_first)
    mine = RecurrentStack(7, 6, bidirectional=True, batch_first=batch_first)
    mine.load_torch(theirs)
    x = torch.randn(5, 9, 7)
    torch.testing.assert_close(flat(mine(x)), flat(theirs(x)), **EXACT)


@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_a_packed_sequence_comes_back_in_its_own_order(enforce_sorted):
    stack = RecurrentStack(4, 5, bidirectional=True, cell="coupled")
    lengths = [6, 4, 1] if enforce_sorted else [4, 6, 1]
    sequences = [torch.randn(length, 4) for length in lengths]
    packed, (h, _) = stack(pack_sequence(sequences, enforce_sorted=enforce_sorted))
    padded, found = pad_packed_sequence(packed)
    assert found.tolist() == lengths
    for b, sequence in enumerate(sequences):
        alone, (h_alone, _) = stack(sequence.unsqueeze(1))
        torch.testing.assert_close(padded[: lengths[b], b], alone[:, 0], **EXACT)
        torch.testing.assert_close(h[:, b], h_alone[:, 0], **EXACT)


def test_the_peer_equals_torch_on_packed_ragged_batches():
    """Values and gradients of two layers."""
    torch.manual_seed(4)
    peer = TorchLSTMStack(7, 6, num_layers=2, bidirectional=True)
    theirs = nn.LSTM(7, 6, num_layers=2, bidirectional=True, batch_first=True)
    pairs = []
    for number, layer in enumerate(peer.layers):
        for suffix, direction in zip(["", "_reverse"], layer.directions, strict=True):
            for name, value in direction.named_parameters():
                other = getattr(theirs, name.replace("l0", f"l{number}") + suffix)
                other.data.copy_(value.data)
                pairs.append((value, other))
    x = torch.randn(5, 9, 7)
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    expected = pad_packed_sequence(theirs(packed)[0], batch_first=True)[0]
    found = peer(x, lengths=LENGTHS)[0]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    for y in (found, expected):
        y.square().sum().backward()
    assert len(pairs) == len(list(theirs.parameters())) == 16
    for mine, other in pairs:
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell", [*CELLS, "torch-lstm"])
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    padding=st.integers(0, 7),
    seed=st.integers(0, 99),
)
@settings(max_examples=20, deadline=None)
def test_an_utterance_gives_the_same_output_and_gradient_in_any_batch(
    stack_of, cell, lengths, padding, seed
):
    stack = stack_of(cell)
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths) + padding
    x = torch.randn(len(lengths), longest, 4, generator=generator)  # rubbish beyond the lengths
    x.requires_grad_()
    batched, _ = stack(x, lengths=torch.tensor(lengths))
    batched.square().sum().backward()
    for b, length in enumerate(lengths):
        alone = x.detach()[b : b + 1, :length].clone().requires_grad_()
        output, _ = stack(alone, lengths=torch.tensor([length]))
        output.square().sum().backward()
        torch.testing.assert_close(batched[b, :length], output[0], **EXACT)
        torch.testing.assert_close(x.grad[b, :length], alone.grad[0], **EXACT)
        assert not batched[b, length:].any()
        assert not x.grad[b, length:].any()


@pytest.mark.parametrize("cell", CELLS)
def test_an_utterance_cut_in_two_goes_on_from_the_state(cell):
    stack = RecurrentStack(4, 5, num_layers=2, batch_first=True, cell=cell)
    x = torch.randn(3, 9, 4)
    whole, end = stack(x)
    first, state = stack(x[:, :4])
    second, last = stack(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, **EXACT)
    torch.testing.assert_close(flat(last), flat(end), **EXACT)


@pytest.mark.parametrize("proj_size", [0, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_the_whole_stack_passes_gradcheck_on_a_ragged_batch(stack_of, cell, proj_size):
    stack = stack_of(cell, proj_size=proj_size).double()
    x = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: flat(stack(y, lengths=torch.tensor([4, 2]))), x)


@pytest.mark.parametrize("by_chunks", [False, True])
@pytest.mark.parametrize("kernel", ["auto", "reference"])
def test_rubbish_in_padding_reaches_no_gradient(stack_of, kernel, by_chunks):
    stack = stack_of("peephole", kernel=kernel)
    lengths, x = torch.tensor([7, 2, 5]), torch.randn(3, 7, 4)
    padding = torch.arange(7) >= lengths[:, None]
    gradients = []
    for rubbish in (0.0, torch.nan):
        stack.zero_grad()
        y = x.masked_fill(padding[..., None], rubbish).requires_grad_()
        output, _ = stack.chunk(y, lengths, 4) if by_chunks else stack(y, lengths=lengths)
        output.square().sum().backward()
        gradients.append([output, y.grad, *(p.grad for p in stack.parameters())])
    for clean, found in zip(*gradients, strict=True):
        assert torch.equal(clean, found)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_lengths_may_be_any_integers_in_any_layout(stack_of, dtype):
    stack = stack_of("peephole")
    x = torch.randn(3, 7, 4)
    strided = torch.tensor([7, 0, 3, 0, 5, 0], dtype=dtype)[::2]
    found, expected = (stack(x, lengths=n)[0] for n in (strided, torch.tensor([7, 3, 5])))
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "bidirectional": True}, {"proj_size": 3, "batch_first": True}],
)
def test_sizes_are_read_as_torchs(options):
    theirs, mine = nn.LSTM(7, 6, **options), RecurrentStack(7, 6, **options)
    for name in ("input_size", "hidden_size", "num_layers", "batch_first", "bidirectional",
                 "proj_size"):  # fmt: skip
        assert getattr(mine, name) == getattr(theirs, name), name


def test_its_text_names_sizes_and_cell():
    assert str(RecurrentStack(7, 6, 2, bidirectional=True, proj_size=3, cell="lstm")) == (
        """RecurrentStack(
  7, 6, cell='lstm', num_layers=2, bidirectional=True, proj_size=3
  (layers): ModuleList(
    (0): RecurrentLayer(7, 6, cell='lstm', bidirectional=True, proj_size=3)
    (1): RecurrentLayer(6, 6, cell='lstm', bidirectional=True, proj_size=3)
  )
  (dropout): Dropout(p=0.0, inplace=False)
)"""
    )


# Initial weights


def test_a_new_layer_remembers_and_has_no_peepholes_yet():
    forget = RecurrentStack(4, 5, cell="peephole").layers[0]
    assert (forget.bias[:, 5:10] == 1).all()
    assert not forget.peephole.any()
    coupled = RecurrentStack(4, 5, cell="coupled").layers[0]
    assert (coupled.bias[:, :5] == -1).all()
    for layer in (forget, coupled):
        assert layer.weight_hh.abs().max() <= 5**-0.5
        assert layer.weight_ih.std() > 0.1


# Memory


def kept_bytes(stack, x):
    """Bytes that autograd keeps for backward, each storage once, weights and input apart."""
    known = {p.untyped_storage().data_ptr() for p in [*stack.parameters(), x]}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output, _ = stack(x)
    del output
    return sum(kept.values())


@pytest.mark.parametrize(("cell", "numbers"), [("rnn", 2), ("lstm-1997", 5), ("lstm", 6),
                                               ("peephole", 6), ("coupled", 5)])  # fmt: skip
def test_per_frame_and_cell_backward_keeps_gates_state_and_output_alone(cell, numbers):
    T, B, H = 50, 3, 8
    stack = RecurrentStack(8, H, bidirectional=True, cell=cell)
    kept = kept_bytes(stack, torch.randn(T, B, 8))
    per_batch = 10 * B * H * 4  # states, lengths and the like
    assert 0 <= kept - 4 * numbers * T * B * 2 * H <= per_batch


def test_recomputation_keeps_only_each_layers_input_and_changes_nothing():
    T, B, H = 50, 3, 8
    x = torch.randn(T, B, 8)
    stacks = [RecurrentStack(8, H, 3, bidirectional=True, recompute=r) for r in (False, True)]
    stacks[1].load_state_dict(stacks[0].state_dict())
    assert kept_bytes(stacks[1], x) <= 3 * T * B * 2 * H * 4
    gradients = []
    for stack in stacks:
        y = x.clone().requires_grad_()
        output, (h, c) = stack(y, lengths=torch.tensor([50, 20, 1]))
        (output.square().sum() + h.sum() + c.sum()).backward()
        gradients.append([y.grad, *(p.grad for p in stack.parameters())])
    torch.testing.assert_close(gradients[1], gradients[0], **EXACT)


# What is refused


@pytest.mark.parametrize(
    "rnn",
    [
        nn.LSTM(7, 6, bidirectional=True, num_layers=2),
        nn.LSTM(7, 6),
        nn.LSTM(7, 5, bidirectional=True),
        nn.LSTM(7, 6, bidirectional=True, proj_size=3),
        nn.RNN(7, 6, bidirectional=True),
        nn.GRU(7, 6, bidirectional=True),
    ],
    ids=["layers", "directions", "sizes", "projection", "simple units", "gru"],
)
def test_weights_of_another_shape_are_refused(rnn):
    with pytest.raises(ModelError):
        RecurrentStack(7, 6, bidirectional=True).load_torch(rnn)


def test_relu_units_are_not_tanh_units():
    with pytest.raises(ModelError, match="RELU"):
        RecurrentStack(7, 6, cell="rnn").load_torch(nn.RNN(7, 6, nonlinearity="relu"))


@pytest.mark.parametrize(
    "options", [{"cell": "gru"}, {"kernel": "warp"}, {"proj_size": 6}, {"proj_size": -1}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError):
        RecurrentStack(7, 6, **options)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.randn(9, 7), {}, "2 dimensions"),
        (torch.randn(9, 5, 6), {}, "last of 6"),
        (torch.randn(9, 5, 7), {"lengths": torch.tensor([9])}, "lengths"),
        (torch.randn(9, 2, 7), {"lengths": torch.tensor([10, 3])}, "lengths run from 3 to 10"),
        (torch.randn(9, 2, 7), {"lengths": torch.tensor([9, -1])}, "lengths run from -1"),
        (torch.randn(9, 5, 7), {"state": (torch.zeros(1, 5, 6), torch.zeros(1, 4, 6))}, "state"),
        (torch.randn(9, 5, 7), {"state": torch.zeros(1, 5, 6)}, r"h alone .*give \(h, c\)"),
        (torch.randn(9, 2, 7), {"lengths": [9, 3]}, "lengths are list"),
        (torch.randn(9, 2, 7), {"lengths": torch.tensor([9.0, 3.0])}, "lengths are torch.float32"),
        (torch.randn(9, 2, 7), {"lengths": torch.tensor([True, False])}, "lengths are torch.bool"),
        (pack_sequence([torch.randn(9, 7)]), {"lengths": torch.tensor([9])}, "lengths"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(x, options, message):
    with pytest.raises(ModelError, match=message):
        RecurrentStack(7, 6)(x, **options)


def test_simple_units_have_no_cell_state_to_give():
    state = torch.zeros(1, 2, 6)
    with pytest.raises(ModelError, match=r"2 tensors .*give h alone"):
        RecurrentStack(7, 6, cell="rnn")(torch.randn(9, 2, 7), (state, state))
