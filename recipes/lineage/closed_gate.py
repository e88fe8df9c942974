"""What a gate sees of its cell while the output gate is closed: the peephole's claim, untrained."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from asr.nn.cells import CELLS
from recipes.lineage.experiment import Experiment, Result, Settings
from recipes.lineage.statistics import SIGNIFICANT, paired

__all__ = ["EXPERIMENT", "information", "sensitivity"]

H = 8
NETWORKS, REDUCED_NETWORKS = 100, 8
OPENINGS = (0.0, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0)  # activations of the output gate
FORMS = {"without peepholes": "lstm", "peepholes": "peephole"}
COLOURS = {"without peepholes": "tab:blue", "peepholes": "tab:green"}
STREAMS, STEPS, WARM = 64, 80, 30  # random input, and its first steps, which do not count
BINS = 12

Floats = NDArray[np.float64]


class Network(NamedTuple):
    """Random weights.

    Attributes:
        weight: ``(4 H, H + 2)`` into i, f, z and o from the input, the outputs before and 1.
        peephole: ``(3, H)`` into i, f and o.
    """

    weight: Floats
    peephole: Floats


def draw_network(cell: str, seed: int) -> Network:
    """Both cells of a seed share all but the peepholes, which are as large as recurrent weights."""
    bound = H**-0.5
    rng = np.random.default_rng([seed, 0])
    weight = rng.uniform(-bound, bound, (4 * H, H + 2))
    weight[:, -1] = 0
    weight[H : 2 * H, -1] = 1  # forget gates are half open
    peephole = rng.uniform(-bound, bound, (3, H))
    return Network(weight, peephole * (cell == "peephole"))


# How a small change of the cell moves the gates of the next step


def sensitivity(cell: str, opening: float, seeds: range) -> Floats:
    """Norms ``(N,)`` of d(gates at t + 1) / d(cells at t), ``(4 H, H)`` each, by autograd."""
    networks = [draw_network(cell, seed) for seed in seeds]
    weight, peephole = (torch.from_numpy(np.stack(part)) for part in zip(*networks, strict=True))
    drawn = np.stack([np.random.default_rng([seed, 2]).standard_normal(H + 1) for seed in seeds])
    c = torch.from_numpy(drawn[:, :H].copy()).requires_grad_()
    x, ones = torch.from_numpy(drawn[:, H:]), torch.ones(len(seeds), 1, dtype=torch.float64)
    seen = torch.cat([x, opening * torch.tanh(c), ones], 1)
    nets = torch.einsum("nrc,nc->nr", weight, seen).chunk(4, 1)
    looks = tuple(peephole.unbind(1)) if cell == "peephole" else ()
    _, _, acts = CELLS[cell].step(nets, c, looks)
    jacobian = torch.cat([_rows(act, c) for act in acts], 1)  # (N, 4 H, H)
    norms: Floats = torch.linalg.matrix_norm(jacobian, 2).numpy()
    return norms


def _rows(act: Tensor, c: Tensor) -> Tensor:
    """d act / d c of every network, ``(N, H, H)``.

    Networks do not touch each other, so that their sum has the gradient of each.
    """
    parts = [torch.autograd.grad(act[:, k].sum(), c, retain_graph=True)[0] for k in range(H)]
    return torch.stack(parts, 1)


# What the gates tell of the cell


def information(cell: str, opening: float, seed: int) -> float:
    """Bits that a cell's input and forget gate tell of its state the step before; means over cells.

    On random input, with the output gate held at ``opening``. From a table of counts, less what
    the same values tell in a random order.
    """
    rng = np.random.default_rng([seed, 3])
    states, gates = _follow(draw_network(cell, seed), opening, rng)
    bits = []
    for act in gates:
        for state, one in zip(states, act, strict=True):
            before, now = _binned(state), _binned(one)
            bits.append(_mutual(before, now) - _mutual(before, rng.permutation(now)))
    return float(np.mean(bits))


def _follow(network: Network, opening: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Cell states before each step that counts, ``(H, N)``, and i and f of it, ``(2, H, N)``."""
    c = np.zeros((H, STREAMS))
    states, gates = [], []
    for step in range(STEPS):
        seen = np.concatenate(
            [rng.standard_normal((1, STREAMS)), opening * np.tanh(c), np.ones((1, STREAMS))]
        )
        net_i, net_f, net_z, _ = np.split(network.weight @ seen, 4)
        i = _logistic(net_i + network.peephole[0, :, None] * c)
        f = _logistic(net_f + network.peephole[1, :, None] * c)
        if step >= WARM:
            states.append(c)
            gates.append((i, f))
        c = f * c + i * np.tanh(net_z)
    return np.concatenate(states, 1), np.concatenate(gates, 2)


def _logistic(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def _binned(values: Floats) -> NDArray[np.int64]:
    """Classes of equal size."""
    return np.searchsorted(np.quantile(values, np.arange(1, BINS) / BINS), values)


def _mutual(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    joint = np.bincount(one * BINS + other, minlength=BINS * BINS).reshape(BINS, BINS) / len(one)
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log2(joint[there] / apart[there])).sum())


# The experiment


def run(settings: Settings) -> Result:
    """Both measures of both forms at every opening."""
    count = REDUCED_NETWORKS if settings.reduced else NETWORKS
    openings = (0.0, 1.0) if settings.reduced else OPENINGS
    seeds = range(settings.first_seed, settings.first_seed + count)
    norms: dict[str, list[list[float]]] = {}
    bits: dict[str, list[list[float]]] = {}
    for form, cell in FORMS.items():
        for opening in openings:
            norms.setdefault(form, []).append(sensitivity(cell, opening, seeds).tolist())
            key = f"{form}, gate at {opening}, {count} networks from {settings.first_seed}"
            bits.setdefault(form, []).append(
                settings.once(key, partial(_told, cell, opening, seeds))
            )
            settings.advance(f"{form}, gate at {opening}")
    return judge(openings, norms, bits)


def _told(cell: str, opening: float, seeds: range) -> list[float]:
    return [information(cell, opening, seed) for seed in seeds]


def judge(
    openings: tuple[float, ...],
    norms: dict[str, list[list[float]]],
    bits: dict[str, list[list[float]]],
) -> Result:
    """With the gate shut, nothing may reach the gates without peepholes and much with them."""
    plain, looking = (norms[form][0] for form in FORMS)
    gain = paired([b - a for a, b in zip(*(bits[form][0] for form in FORMS), strict=True)])
    alone = paired(bits["without peepholes"][0])
    open_too = paired([b - a for a, b in zip(*(bits[form][-1] for form in FORMS), strict=True)])
    holds = max(plain) == 0 < min(looking) and gain.low > 0 and gain.p < SIGNIFICANT
    verdict = (
        f"{len(plain)} random networks. Output gate shut: the Jacobian of the next step's gates by "
        f"the cells is exactly 0 in all of them without peepholes, and with them its norm is "
        f"{min(looking):.2g} to {max(looking):.2g}. The gates tell {alone.mean:.4f} bits of their "
        f"cell without peepholes (95 % interval {alone.low:.4f} to {alone.high:.4f}) and "
        f"{gain.mean:.2f} more with them ({gain.low:.2f} to {gain.high:.2f}, p = {gain.p:.1g}). "
        f"Output gate open: {open_too.mean:.2f} bits more with peepholes ({open_too.low:.2f} to "
        f"{open_too.high:.2f})."
    )
    numbers = {"openings": list(openings), "jacobian norms": norms, "bits": bits}
    rounded = {"bits": {f: [[round(v, 5) for v in r] for r in b] for f, b in bits.items()}}
    return Result(holds, verdict, numbers | rounded, _draw(openings, norms, bits))


def _draw(
    openings: tuple[float, ...],
    norms: dict[str, list[list[float]]],
    bits: dict[str, list[list[float]]],
) -> Figure:
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for form, colour in COLOURS.items():
        for axes, measured in ((left, norms), (right, bits)):
            values = np.array(measured[form])
            axes.plot(openings, np.median(values, 1), "o-", ms=4, color=colour, label=form)
            low, high = np.quantile(values, [0.025, 0.975], axis=1)
            axes.fill_between(openings, low, high, color=colour, alpha=0.15)
    left.set_yscale("symlog", linthresh=1e-5)
    left.set(
        ylabel="‖∂ gates(t + 1) / ∂ cells(t)‖",
        title="How far the cells move the next step's gates",
        ylim=(-2e-6, 2),
    )
    right.set(ylabel="bits", title="What the gates tell of their cell")
    for axes in (left, right):
        axes.set_xscale("symlog", linthresh=1e-4)
        axes.set_xlim(-2e-5, 1.2)
        axes.set_xlabel("opening of the output gate (0: shut)")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return figure


EXPERIMENT = Experiment(
    name="closed-gate",
    title="A closed output gate hides the cell from its gates; a peephole does not",
    source="Gers & Schmidhuber 2000; Gers, Schraudolph & Schmidhuber 2002, section 3",
    claim="""\
Without peepholes a gate sees its cell only through the output gate. While that is shut nothing of
the cell reaches the gates of the next step. With peepholes it does, however far the output gate
is open.
""",
    setup=f"""\
Nothing is trained. {NETWORKS} random networks of {H} cells with forget gates; with and without
peepholes they share all other weights, and peepholes are drawn from the same range as recurrent
weights. The output gate is held at an activation from 0 to 1. Left: the norm of the Jacobian of all
gates at t + 1 by all cells at t, by autograd in float64, for random cells and inputs. Right: the
mutual information of a cell's state at t and its input and forget gate at t + 1 on random input:
tables of {BINS} by {BINS} classes of equal size over {STREAMS * (STEPS - WARM):,} steps, less what
the same values tell in a random order. Lines are medians, bands hold 95 % of the networks. It holds
if with the gate shut the Jacobian is exactly 0 in every network without peepholes and above 0 in
every one with them, and the gates tell more with peepholes: the interval of the mean difference,
paired by network, is above 0 and p of a test that flips its signs is below {SIGNIFICANT}.""",
    scaled="",
    steps=len(FORMS) * len(OPENINGS),
    run=run,
)
