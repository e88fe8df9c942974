"""Cells that learn step by step, against autograd and a stream written by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recipes.lineage.online import LANES, PEEPHOLES, Lesson, learn_online
from recipes.lineage.timing_tasks import TASKS

RATE, MOMENTUM = 0.05, 0.9


def by_autograd(weights, learns, lesson):
    """The weights after ``lesson.steps`` of training without a whole stream."""
    w, speed = torch.tensor(weights, dtype=torch.float64), torch.zeros(17, dtype=torch.float64)
    taken = 0
    while taken < lesson.steps:
        s = m = torch.zeros((), dtype=torch.float64)
        leaves = []
        for phase in range(10_000):
            leaf = w.clone().requires_grad_()
            leaves.append(leaf)
            h, before = m.detach(), s.detach()
            i, f, o = leaf[0:4], leaf[4:8], leaf[8:12]
            gate_i = torch.sigmoid(i[1] * h + i[2] + i[3] * before)
            gate_f = torch.sigmoid(f[1] * h + f[2] + f[3] * before)
            s = gate_f * s + gate_i * (leaf[13] * h + leaf[14])
            gate_o = torch.sigmoid(o[1] * h + o[2] + o[3] * s.detach())
            m = gate_o * s
            net = leaf[15] * m + leaf[16]
            y = torch.sigmoid(net) if lesson.logistic else net
            error = lesson.targets[phase % len(lesson.targets)] - y
            grads = torch.autograd.grad(error.square() / 2, leaves, retain_graph=True)
            speed = lesson.momentum * speed - lesson.rate * learns * sum(grads)
            w = w + speed
            taken += 1
            if abs(error.item()) >= lesson.tolerance or taken == lesson.steps:
                break
    return w.numpy()


@pytest.mark.parametrize("peepholes", [True, False])
@pytest.mark.parametrize("logistic", [True, False])
def test_weights_change_as_autograd_has_it(peepholes, logistic):
    targets = (0.1, 0.3, 0.7, 0.4)
    lesson = Lesson(targets, False, logistic, 0.45, MOMENTUM, RATE, 2.0, 40)
    learns = np.ones(17)
    if not peepholes:
        learns[list(PEEPHOLES)] = 0
    first = learn_online(replace(lesson, steps=0), peepholes, 5).weights
    found = learn_online(lesson, peepholes, 5)
    assert (found.steps == 40).all()
    for lane in (0, LANES - 1):
        expected = by_autograd(first[:, lane], torch.tensor(learns), lesson)
        np.testing.assert_allclose(found.weights[:, lane], expected, atol=1e-4)
        assert np.abs(found.weights[:, lane] - first[:, lane]).max() > 0.1


def test_both_forms_of_a_seed_begin_alike():
    lesson = TASKS[1].lesson(RATE, 2.0, 0)
    with_them, without = (learn_online(lesson, p, 7).weights for p in (True, False))
    others = np.delete(np.arange(17), PEEPHOLES)
    np.testing.assert_array_equal(with_them[others], without[others])
    assert not without[list(PEEPHOLES)].any()
    assert with_them[list(PEEPHOLES)].all()
    shifted = learn_online(lesson, True, 8).weights
    np.testing.assert_array_equal(shifted[:, :-1], with_them[:, 1:])


def test_a_constant_is_solved_and_its_stream_counted():
    lesson = Lesson((0.5, 0.5), False, False, 0.3, 0.0, 0.1, 2.0, 20_000)
    found = learn_online(lesson, False, 0)
    assert found.solved.all()
    assert (found.longest == 100).all()
    assert (found.error < 0.3).all()
    assert (found.steps < 20_000).all()


def test_delays_are_asked_at_spikes_only():
    lesson = replace(TASKS[0].lesson(0.0, 2.0, 2_000), tolerance=0.1)
    found = learn_online(lesson, True, 0)
    # Untrained, the output is about a half: wrong at each first spike, after 10 or 11 steps.
    assert (found.longest == 0).all()
    lengths = found.steps / found.streams
    assert (lengths > 10).all()
    assert (lengths < 11.2).all()
    assert lengths.mean() == pytest.approx(10.5, abs=0.15)
