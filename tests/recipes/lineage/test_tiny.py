"""Small compiled networks against the toolkit's own layer, and against torch's Adam."""

import numpy as np
import pytest
import torch
from torch import nn

from asr.nn.recurrent import RecurrentStack
from recipes.lineage.tiny import GATES, Adam, Net, gradient, run, step

T, B, INPUTS, H, OUTPUTS = 12, 6, 3, 5, 2


def twin(cell, seed=0):
    """A network and the toolkit's layer with the same weights, and a readout."""
    torch.manual_seed(seed)
    layer = RecurrentStack(INPUTS, H, cell=cell).layers[0]
    readout = nn.Linear(H, OUTPUTS)
    net = Net(cell, INPUTS, H, OUTPUTS, logistic=True)
    names = ["z"] if cell == "rnn" else layer.cell.gates
    with torch.no_grad():
        for number, gate in enumerate(names):
            rows = slice(number * H, (number + 1) * H)
            net.weight[net.rows(gate), :INPUTS] = layer.weight_ih[0, rows]
            net.weight[net.rows(gate), INPUTS : INPUTS + H] = layer.weight_hh[0, rows]
            net.bias(gate)[:] = layer.bias[0, rows]
        if layer.peephole is not None:
            nn.init.normal_(layer.peephole)
            net.peephole[:] = layer.peephole[0]
        net.readout[:, :H], net.readout[:, H] = readout.weight.detach(), readout.bias.detach()
    return net, layer, readout, names


def batch(seed=1):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((T, INPUTS, B)).astype(np.float32)
    x[:, 0] = 0  # a row that says nothing
    return x, rng.random((T, OUTPUTS, B)).astype(np.float32)


@pytest.mark.parametrize("cell", ["rnn", "lstm-1997", "lstm", "peephole"])
def test_values_and_gradients_are_those_of_the_toolkits_layer(cell):
    net, layer, readout, names = twin(cell)
    x, targets = batch()
    stack = RecurrentStack(INPUTS, H, cell=cell)
    stack.layers[0] = layer
    hidden, _ = stack(torch.tensor(x).transpose(1, 2))
    outputs = torch.sigmoid(readout(hidden)).transpose(1, 2)
    trace = run(net, x)
    np.testing.assert_allclose(trace.outputs, outputs.detach().numpy(), atol=2e-6)
    (outputs - torch.tensor(targets)).square().sum().backward()
    found = gradient(net, trace, 2 * (trace.outputs - targets))
    weight, peephole, last = net.views(found)
    for number, gate in enumerate(names):
        rows = slice(number * H, (number + 1) * H)
        for columns, parameter in (
            (slice(0, INPUTS), layer.weight_ih),
            (slice(INPUTS, INPUTS + H), layer.weight_hh),
            (INPUTS + H, layer.bias),
        ):
            expected = parameter.grad[0, rows].numpy()
            np.testing.assert_allclose(weight[net.rows(gate), columns], expected, atol=1e-5)
    if layer.peephole is not None:
        np.testing.assert_allclose(peephole, layer.peephole.grad[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(last[:, :H], readout.weight.grad.numpy(), atol=1e-5)


@pytest.mark.parametrize("squash", [True, False])
def test_the_papers_gradient_ends_at_gates_and_peepholes(squash):
    net, *_ = twin("peephole")
    net.squash, net.whole = squash, False
    x, targets = batch()
    trace = run(net, x)
    weight, looks, readout = (
        torch.tensor(part, requires_grad=True) for part in (net.weight, net.peephole, net.readout)
    )
    h = c = torch.zeros(H, B)
    total = 0
    for frame, target in zip(torch.tensor(x), torch.tensor(targets), strict=True):
        nets = (
            weight[:, : INPUTS + H] @ torch.cat([frame, h.detach()]) + weight[:, INPUTS + H, None]
        )
        net_i, net_f, net_z, net_o = nets.chunk(4)
        i = torch.sigmoid(net_i + looks[0, :, None] * c.detach())
        f = torch.sigmoid(net_f + looks[1, :, None] * c.detach())
        c = f * c + i * torch.tanh(net_z)
        o = torch.sigmoid(net_o + looks[2, :, None] * c.detach())
        h = o * (torch.tanh(c) if squash else c)
        output = torch.sigmoid(readout[:, :H] @ h + readout[:, H, None])
        total = total + (output - target).square().sum()
    total.backward()
    found = net.views(gradient(net, trace, 2 * (trace.outputs - targets)))
    for mine, theirs in zip(found, (weight, looks, readout), strict=True):
        np.testing.assert_allclose(mine, theirs.grad.numpy(), atol=1e-5)


def test_a_run_in_pieces_goes_on_from_the_state():
    net, *_ = twin("peephole")
    x, _ = batch()
    first = run(net, x[:5])
    second = run(net, x[5:], (first.hidden, first.cells[-1]))
    whole = run(net, x).outputs
    np.testing.assert_allclose(np.concatenate([first.outputs, second.outputs]), whole, atol=1e-6)


def test_updates_are_those_of_torchs_adam_with_a_clipped_gradient():
    net, *_ = twin("lstm")
    x, targets = batch()
    theirs = torch.tensor(net.theta.copy(), requires_grad=True)
    torchs, mine = torch.optim.Adam([theirs], lr=0.01), Adam(net, clip=0.5)
    for _ in range(5):
        trace = run(net, x)
        theirs.grad = torch.tensor(gradient(net, trace, 2 * 0.1 * (trace.outputs - targets)))
        nn.utils.clip_grad_norm_([theirs], 0.5)
        torchs.step()
        step(mine, x, targets, 0.1, 0.01)
    np.testing.assert_allclose(net.theta, theirs.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize(("gate", "activation"), [("i", 1), ("f", 0), ("o", 0.25)])
def test_a_held_gate_stays_so_in_training(gate, activation):
    net = Net("peephole", INPUTS, H, OUTPUTS).draw(0)
    net.hold(gate, activation)
    x, targets = batch()
    adam = Adam(net)
    for _ in range(3):
        trace = step(adam, x, targets, 1.0, 0.1)
    rows = net.rows(gate)
    assert (trace.acts[:, rows] == activation).all()
    assert not net.weight[rows].any()
    for other in set(GATES) - {gate}:
        assert np.ptp(trace.acts[:, net.rows(other)]) > 0.01


def test_seeds_draw_alike_with_and_without_peepholes():
    one, other = (
        Net("lstm", INPUTS, H, OUTPUTS).draw(3),
        Net("peephole", INPUTS, H, OUTPUTS).draw(3),
    )
    np.testing.assert_array_equal(one.theta, other.theta)
    assert not np.array_equal(one.theta, Net("lstm", INPUTS, H, OUTPUTS).draw(4).theta)
