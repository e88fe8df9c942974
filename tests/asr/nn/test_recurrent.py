"""The recurrent stack against torch.nn.LSTM, and its independence of the batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from asr.nn.kernels import KERNELS
from asr.nn.recurrent import PeepholeLSTM, reverse_within_lengths
from asr.types import ModelError

LENGTHS = torch.tensor([9, 1, 6, 9, 4])


def packed(lstm, x, lengths):
    packed_x = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(lstm(packed_x)[0], batch_first=True, total_length=x.shape[1])[0]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_without_peepholes_it_equals_torch_lstm_on_ragged_batches(kernel, bidirectional):
    torch.manual_seed(3)
    theirs = nn.LSTM(7, 6, num_layers=3, bidirectional=bidirectional, batch_first=True)
    mine = PeepholeLSTM(7, 6, num_layers=3, bidirectional=bidirectional, kernel=kernel)
    mine.load_torch(theirs)
    x = torch.randn(5, 9, 7, requires_grad=True)
    x_theirs = x.detach().clone().requires_grad_()
    expected = packed(theirs, x_theirs, LENGTHS)
    actual = mine(x, LENGTHS)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)
    expected.square().sum().backward()
    actual.square().sum().backward()
    torch.testing.assert_close(x.grad, x_theirs.grad, atol=1e-5, rtol=0)


def test_the_peer_layer_equals_torch_lstm_on_ragged_batches():
    torch.manual_seed(4)
    peer = PeepholeLSTM(7, 6, cell="torch-lstm")
    theirs = nn.LSTM(7, 6, bidirectional=True, batch_first=True)
    for suffix, direction in zip(["", "_reverse"], peer.layers[0].directions, strict=True):
        for name, value in direction.named_parameters():
            getattr(theirs, name + suffix).data.copy_(value.data)
    x = torch.randn(5, 9, 7)
    torch.testing.assert_close(peer(x, LENGTHS), packed(theirs, x, LENGTHS), atol=1e-6, rtol=0)


def with_peepholes(cell="peephole", kernel="auto"):
    torch.manual_seed(5)
    stack = PeepholeLSTM(4, 5, num_layers=2, cell=cell, kernel=kernel)
    with torch.no_grad():
        for layer in stack.layers:
            if hasattr(layer, "peephole"):
                layer.peephole.normal_()
    return stack


def test_peepholes_change_the_output():
    stack = with_peepholes()
    x, lengths = torch.randn(2, 6, 4), torch.tensor([6, 3])
    before = stack(x, lengths)
    with torch.no_grad():
        for layer in stack.layers:
            layer.peephole.zero_()
    assert (stack(x, lengths) - before).abs().max() > 1e-3


@pytest.mark.parametrize("cell", ["peephole", "torch-lstm"])
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    padding=st.integers(0, 7),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_an_utterance_gives_the_same_output_and_gradient_in_any_batch(cell, lengths, padding, seed):
    stack = with_peepholes(cell)
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths) + padding
    x = torch.randn(len(lengths), longest, 4, generator=generator)  # rubbish beyond the lengths
    x.requires_grad_()
    batched = stack(x, torch.tensor(lengths))
    batched.square().sum().backward()
    for b, length in enumerate(lengths):
        alone = x.detach()[b : b + 1, :length].clone().requires_grad_()
        output = stack(alone, torch.tensor([length]))
        output.square().sum().backward()
        torch.testing.assert_close(batched[b, :length], output[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(x.grad[b, :length], alone.grad[0], atol=1e-5, rtol=0)
        assert not batched[b, length:].any()
        assert not x.grad[b, length:].any()


def test_reversal_is_within_each_length_and_differentiable():
    x = torch.arange(8.0).view(4, 2).double().requires_grad_()  # (T, B)
    lengths = torch.tensor([3, 1])
    reversed_ = reverse_within_lengths(x, lengths)
    assert reversed_.tolist() == [[4, 1], [2, 3], [0, 5], [6, 7]]
    assert torch.autograd.gradcheck(lambda y: reverse_within_lengths(y, lengths), x)


def test_the_whole_stack_passes_gradcheck_on_a_ragged_batch():
    stack = with_peepholes().double()
    x = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: stack(y, torch.tensor([4, 2])), x)


@pytest.mark.parametrize(
    "lstm",
    [
        nn.LSTM(7, 6, bidirectional=True, num_layers=2),
        nn.LSTM(7, 6),
        nn.LSTM(7, 5, bidirectional=True),
        nn.LSTM(7, 6, bidirectional=True, bias=False),
        nn.LSTM(7, 6, bidirectional=True, proj_size=3),
    ],
    ids=["layers", "directions", "sizes", "bias", "projection"],
)
def test_weights_of_another_shape_are_refused(lstm):
    with pytest.raises(ModelError):
        PeepholeLSTM(7, 6).load_torch(lstm)
