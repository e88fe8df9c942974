"""How the error flows back: it vanishes or explodes in the RNN, and stays in the carousel.

Hochreiter 1991, chapter 3, and Hochreiter & Schmidhuber 1997, section 3. The error at the units'
net inputs q steps back, differentiated by the error now, is what autograd gives for the net input
now by the net input then. For cells it is the cell state now by the cell state then.
"""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from asr.nn.cells import CELLS
from asr.nn.kernels import reference
from asr.nn.kernels.operator import Arguments
from recipes.lineage.experiment import Experiment, Result, Settings

__all__ = ["EXPERIMENT"]

RADII = (0.7, 1.0, 1.4)  # of the recurrent matrix
LSTMS = ("lstm-1997", "lstm", "peephole")
LAGS = (1, 2, 5, 10, 20, 30, 50, 70, 100)
H = 24
SEEDS = 10
FORGET_BIAS = 3.0  # gates at rest are open to 0.95, as those of a network that has to remember
VANISHED, EXPLODED = 1e-6, 1e6  # of the error one step back, at lag 100

Curve = list[float]


def run(settings: Settings) -> Result:
    """Measure both kinds of network over all seeds."""
    seeds = range(3 if settings.reduced else SEEDS)
    rnn: dict[str, list[Curve]] = {}
    formula: dict[str, list[Curve]] = {}
    formula_error = 0.0
    cells: dict[str, list[Curve]] = {}
    truncated_error = 0.0
    for seed in seeds:
        for radius in RADII:
            for driven in (False, True):
                measured, product = rnn_curves(radius, driven, seed)
                name = f"{radius} {'driven' if driven else 'at rest'}"
                rnn.setdefault(name, []).append(measured)
                formula.setdefault(name, []).append(product)
                for a, b in zip(measured, product, strict=True):
                    formula_error = max(formula_error, abs(a - b) / b)
        for cell in LSTMS:
            full, truncated, error = cell_curves(cell, seed)
            cells.setdefault(f"{cell} full", []).append(full)
            cells.setdefault(f"{cell} truncated", []).append(truncated)
            truncated_error = max(truncated_error, error)
        settings.advance(f"seed {seed + 1} of {len(seeds)}")
    return judge(rnn, formula, cells, formula_error, truncated_error)


# Simple recurrent network


def rnn_curves(radius: float, driven: bool, seed: int) -> tuple[Curve, Curve]:
    """Norms of d(error q steps back) / d(error now) by lag: by autograd, and by the formula.

    ``driven`` feeds every unit Gaussian noise of deviation 1; else the network rests at 0, where
    the slope of every unit is 1.
    """
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(H, H, generator=generator, dtype=torch.float64)
    w *= radius / torch.linalg.eigvals(w).abs().max()
    T = max(LAGS) + 20
    net_from_below = float(driven) * torch.randn(T, H, generator=generator, dtype=torch.float64)
    gates = net_from_below.view(T, 1, 1, H).requires_grad_()
    zeros = torch.zeros(1, 1, H, dtype=torch.float64)
    arguments = Arguments("rnn", gates, w[None], None, None, zeros, zeros, torch.tensor([T]))
    h = reference.forward(arguments).hidden[:, 0, 0]  # (T, H)
    slope = 1 - h.detach() ** 2  # f'(net) of every step
    rows = [torch.autograd.grad(h[-1, v], gates, retain_graph=True)[0][:, 0, 0] for v in range(H)]
    by_net = torch.stack(rows) / slope[-1][:, None, None]  # of net(t): (H, T, H)
    measured = [norm(by_net[:, T - 1 - q]) for q in LAGS]
    product = torch.eye(H, dtype=torch.float64)
    by_formula = {}
    for q in range(1, max(LAGS) + 1):  # Hochreiter 1991: factors f'(net(t - m)) w
        product = slope[T - 1 - q][:, None] * (w.T @ product)
        by_formula[q] = norm(product)
    return measured, [by_formula[q] for q in LAGS]


def norm(matrix: Tensor) -> float:
    """The largest singular value."""
    return float(torch.linalg.matrix_norm(matrix, 2))


# Cells


def cell_curves(cell: str, seed: int) -> tuple[Curve, Curve, float]:
    """Norms of d c(t) / d c(t - q) by lag: over all paths, and along the carousel alone.

    The carousel alone is the gradient of 1997: truncated where it would leave the cell through its
    output or enter it through a gate. It should be the product of the forget gates' activations, 1
    without a forget gate; the last value is its largest relative distance from that, of any cell.
    """
    net, weight_hh, peephole, h, c = random_course(cell, seed)
    full, truncated, error = [], [], 0.0
    for q in LAGS:
        full.append(norm(all_paths(cell, net, weight_hh, peephole, h, c, q)))
        along, product = carousel(cell, net[-q:], weight_hh, peephole, h, c, q)
        truncated.append(float(along.max()))
        error = max(error, float(((along - product).abs() / product).max()))
    return full, truncated, error


def random_course(cell: str, seed: int) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
    """A random network: nets from below, its weights, and h and c ``(T + 1, H)`` over T steps."""
    generator = torch.Generator().manual_seed(seed)
    kind = CELLS[cell]
    G, P, T = len(kind.gates), len(kind.peepholes), max(LAGS) + 20

    def draw(*shape: int, scale: float) -> Tensor:
        return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)

    weight_hh = draw(1, G * H, H, scale=H**-0.5)
    peephole = draw(1, P, H, scale=0.1) if P else None
    net = draw(T, 1, 1, G * H, scale=0.5)
    if "f" in kind.gates:
        net[..., H : 2 * H] += FORGET_BIAS
    start = draw(1, 1, H, scale=0.5), draw(1, 1, H, scale=0.5)
    outputs = reference.forward(
        Arguments(cell, net, weight_hh, peephole, None, *start, torch.tensor([T]))
    )
    h = torch.cat([start[0], outputs.hidden[:, :, 0]])[:, 0]
    c = torch.cat([start[1], outputs.cells[:, :, 0]])[:, 0]
    return net, weight_hh, peephole, h, c


def all_paths(
    cell: str, net: Tensor, weight_hh: Tensor, peephole: Tensor | None, h: Tensor, c: Tensor, q: int
) -> Tensor:
    """d c(t) / d c(t - q), ``(H, H)``; the output of step t - q follows its cell state."""
    first = len(c) - 1 - q
    c0 = c[first].view(1, 1, H).requires_grad_()
    rows = slice(CELLS[cell].gates.index("o") * H, None)  # the output gate is the last
    net_o = net[first - 1, 0, 0, rows] + weight_hh[0, rows] @ h[first - 1]
    if peephole is not None:
        net_o = net_o + peephole[0, CELLS[cell].peepholes.index("o")] * c0
    h0 = torch.sigmoid(net_o) * torch.tanh(c0)
    part = Arguments(cell, net[first:], weight_hh, peephole, None, h0, c0, torch.tensor([q]))
    end = reference.forward(part).c_n[0, 0]
    rows_of = [torch.autograd.grad(end[v], c0, retain_graph=True)[0][0, 0] for v in range(H)]
    return torch.stack(rows_of)


def carousel(
    cell: str, net: Tensor, weight_hh: Tensor, peephole: Tensor | None, h: Tensor, c: Tensor, q: int
) -> tuple[Tensor, Tensor]:
    """d c(t) / d c(t - q) of each cell along its own carousel, and its forget gates' product."""
    kind = CELLS[cell]
    T = len(c) - 1
    start = c[T - q].clone().requires_grad_()
    state = start
    product = torch.ones(H, dtype=torch.float64)
    for step in range(q):
        t = T - q + step
        nets = list((net[step, 0, 0] + weight_hh[0] @ h[t]).chunk(len(kind.gates)))
        if peephole is not None:  # seen, but no error flows along: added as a constant
            for gate, w in zip(kind.peepholes, peephole[0], strict=True):
                seen = c[t + 1] if gate == "o" else c[t]
                nets[kind.gates.index(gate)] = nets[kind.gates.index(gate)] + w * seen
        none = tuple(torch.zeros(H, dtype=torch.float64) for _ in kind.peepholes)
        _, state, acts = kind.step(tuple(nets), state, none)
        if "f" in kind.gates:
            product = product * acts[kind.gates.index("f")]
    return torch.autograd.grad(state.sum(), start)[0], product.detach()


# Verdict and picture


def judge(
    rnn: dict[str, list[Curve]],
    formula: dict[str, list[Curve]],
    cells: dict[str, list[Curve]],
    formula_error: float,
    truncated_error: float,
) -> Result:
    """Every claim has to hold for every seed."""

    def ratios(curves: list[Curve]) -> list[float]:
        return [curve[-1] / curve[0] for curve in curves]

    vanished = max(ratios(rnn["0.7 at rest"] + rnn["0.7 driven"]))
    exploded = min(ratios(rnn["1.4 at rest"]))
    off = max(abs(value - 1) for curve in cells["lstm-1997 truncated"] for value in curve)
    holds = (
        vanished < VANISHED
        and exploded > EXPLODED
        and off < 0.01
        and formula_error < 1e-9
        and truncated_error < 1e-9
    )
    verdict = (
        f"At lag {LAGS[-1]} against lag 1 the RNN's error is at most {vanished:.1g} times as large "
        f"at spectral radius {RADII[0]}, at least {exploded:.1g} times at {RADII[-1]} (at rest); "
        f"along the carousel of 1997 it is 1 to {off:.1g}, with a forget gate the product of its "
        f"activations to {truncated_error:.1g}. Autograd and the product formula agree to "
        f"{formula_error:.1g}."
    )
    numbers: dict[str, Any] = {
        "lags": list(LAGS),
        "rnn": rnn,
        "rnn by the product formula": formula,
        "cells": cells,
        "formula_error": formula_error,
        "truncated_error": truncated_error,
    }
    return Result(holds, verdict, numbers, draw_figure(rnn, formula, cells))


def draw_figure(
    rnn: dict[str, list[Curve]], formula: dict[str, list[Curve]], cells: dict[str, list[Curve]]
) -> Figure:
    """The RNN on the left, crosses by the product formula; the cells on the right."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for color, radius in zip(("C0", "C1", "C3"), RADII, strict=True):
        draw_band(left, rnn[f"{radius} at rest"], f"radius {radius}, at rest", color, "-")
        draw_band(left, rnn[f"{radius} driven"], f"radius {radius}, driven by noise", color, ":")
    for number, curves in enumerate(formula.values()):
        medians = torch.tensor(curves, dtype=torch.float64).median(0).values
        label = "product formula" if number == 0 else None
        left.plot(LAGS, medians, "x", color="k", ms=4, mew=0.8, label=label)
    left.set_title("simple recurrent network")
    left.set_ylabel("‖∂ϑ(t − q) / ∂ϑ(t)‖")
    for color, cell in zip(("C2", "C4", "C5"), LSTMS, strict=True):
        draw_band(right, cells[f"{cell} truncated"], f"{cell}, carousel alone", color, "-")
        draw_band(right, cells[f"{cell} full"], f"{cell}, all paths", color, ":")
    right.set_title("cells")
    right.set_ylabel("‖∂c(t) / ∂c(t − q)‖")
    for axes in (left, right):
        axes.set_yscale("log")
        axes.set_xlabel("lag q (steps)")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7.5, frameon=False)
    return figure


def draw_band(axes: Axes, curves: list[Curve], label: str, color: str, style: str) -> None:
    """Median over seeds, and the range of them all."""
    values = torch.tensor(curves, dtype=torch.float64)
    axes.plot(LAGS, values.median(0).values, style, color=color, label=label, lw=1.5)
    axes.fill_between(LAGS, values.min(0).values, values.max(0).values, color=color, alpha=0.15)


EXPERIMENT = Experiment(
    name="error-flow",
    title="The error vanishes or explodes on its way back, but not in the carousel",
    source="Hochreiter 1991, chapter 3; Hochreiter & Schmidhuber 1997, sections 3 and 4; Gers, "
    "Schmidhuber & Cummins 2000",
    claim="Flowing back q steps through a simple recurrent network, the error is scaled by a "
    "product of q factors f'(net) w, and vanishes or explodes exponentially. In the constant "
    "error carousel its factor is 1; a forget gate makes it that gate's activation.",
    setup=f"{H} units or cells, {SEEDS} random networks, untrained, float64. The RNN's recurrent "
    "matrix is Gaussian, scaled to a spectral radius of 0.7, 1.0 or 1.4; at rest all "
    "activations are 0 and every slope f' is 1, driven by unit Gaussian noise the slopes are "
    "smaller. The cells get Gaussian net inputs of deviation 0.5, recurrent weights of "
    "deviation 1/√H, peepholes of 0.1, and a forget bias of 3. Carousel alone: the gradient "
    "of 1997, truncated where it leaves the cell. Lines are medians, bands the range over all "
    "networks. It holds if at lag 100 the RNN's error is below 1e-6 of that at lag 1 at "
    "radius 0.7 (in both regimes) and above 1e6 at 1.4 (at rest), the carousel's is 1 within "
    "1 %, and measured values equal the product formula and the product of forget activations "
    "to 1e-9, for every network.",
    scaled="",
    steps=SEEDS,
    run=run,
)
