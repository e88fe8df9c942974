"""What the two gates of 1997 are for: one weight cannot both store and ignore, show and hide."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from recipes.lineage.experiment import Experiment, Result, Settings, Table
from recipes.lineage.statistics import DIFFERENCE, SIGNIFICANT, compare, share
from recipes.lineage.tiny import Adam, Floats, Net, step
from recipes.lineage.tiny import run as run_net

__all__ = ["EXPERIMENT", "store_and_recall"]

H = 2  # cells
STEPS = 25
STORE_WITHIN = 10  # the mark to store comes among the first steps
SEEDS, REDUCED_SEEDS = 100, 3
UPDATES, REDUCED_UPDATES = 2500, 1500
TEST_EVERY = 100
BATCH, TEST_SEQUENCES = 32, 512
RATE = 2e-2
TOLERANCE, SHARE = 0.3, 0.98  # every step within it, in this share of the test sequences
FREE = "both gates free"
FROZEN = {FREE: "", "input gate open": "i", "output gate open": "o", "both open": "io"}
# The mean over the steps before the last, plus that over the last: each weighs like all the others.
WEIGHTS = np.full((STEPS, 1, 1), 1 / (BATCH * (STEPS - 1)), np.float32)
WEIGHTS[-1] = 1 / BATCH


def store_and_recall(rng: np.random.Generator, sequences: int) -> tuple[Floats, Floats]:
    """Store the value at a mark, ignore all others, show it at the end, and nothing before.

    Inputs ``(T, 3, B)``: a value of -1 or 1 at every step, the mark to store at one step, the mark
    to recall at the last. Targets ``(T, 1, B)``: the stored value at the last step, else 0.
    """
    inputs = np.zeros((STEPS, 3, sequences), np.float32)
    inputs[:, 0] = 2 * rng.integers(2, size=(STEPS, sequences)) - 1
    at = rng.integers(STORE_WITHIN, size=sequences)
    columns = np.arange(sequences)
    inputs[at, 1, columns] = 1
    inputs[-1, 2] = 1
    targets = np.zeros((STEPS, 1, sequences), np.float32)
    targets[-1, 0] = inputs[at, 0, columns]
    return inputs, targets


def network(frozen: str, seed: int) -> Net:
    """Cells of 1997 with some gates held open, and a linear readout of every step."""
    net = Net("lstm-1997", 3, H, 1)
    for gate in frozen:
        net.hold(gate, 1)
    return net.draw(seed)


def train(frozen: str, seed: int, updates: int) -> tuple[Net, float, int]:
    """A network after training, the share of test sequences that it does right, and its updates."""
    rng = np.random.default_rng([seed, 1])
    test_x, test_y = store_and_recall(np.random.default_rng([seed, 2]), TEST_SEQUENCES)
    adam = Adam(network(frozen, seed))
    right, update = 0.0, 0
    for update in range(1, updates + 1):
        step(adam, *store_and_recall(rng, BATCH), WEIGHTS, RATE)
        if update % TEST_EVERY == 0:
            off = np.abs(run_net(adam.net, test_x).outputs - test_y).max((0, 1))
            right = float((off < TOLERANCE).mean())
            if right >= SHARE:
                break
    return adam.net, right, update


def run(settings: Settings) -> Result:
    """Every way to hold gates open, over all seeds."""
    count = REDUCED_SEEDS if settings.reduced else SEEDS
    updates = REDUCED_UPDATES if settings.reduced else UPDATES
    right: dict[str, list[float]] = {}
    pictured = None
    for name, frozen in FROZEN.items():
        for seed in range(settings.first_seed, settings.first_seed + count):

            def one(frozen: str = frozen, seed: int = seed) -> list[Any]:
                net, share_right, took = train(frozen, seed, updates)
                return [share_right, took, net.theta.tolist()]

            share_right, _, theta = settings.once(f"{name}, seed {seed}, {updates} updates", one)
            right.setdefault(name, []).append(share_right)
            if name == FREE and share_right >= SHARE and pictured is None:
                pictured = network(frozen, seed)
                pictured.theta[:] = theta
            settings.advance(f"{name}, seed {seed}")
    return judge(right, trace_of(pictured or network("", 0)))


def judge(right: dict[str, list[float]], trace: dict[str, list[list[float]]]) -> Result:
    """Free gates have to succeed more often than every frozen form, beyond chance."""
    won = {name: sum(each >= SHARE for each in shares) for name, shares in right.items()}
    seeds = len(right[FREE])
    against = {n: compare(won[FREE], seeds, won[n], seeds) for n in won if n != FREE}
    holds = all(c.low > 0 and c.p < SIGNIFICANT for c in against.values())
    won_free = share(won[FREE], seeds)
    verdict = (
        f"With both gates free {won_free} seeds learn the task. With one or both of them held "
        "open fewer do."
        if holds
        else f"With both gates free {won_free} seeds learn the task."
    )
    rows = [["gates", "seeds that learnt it (95 %)", *DIFFERENCE], [FREE, won_free, "", "", ""]]
    rows += [[n, share(won[n], seeds), *each.cells] for n, each in against.items()]
    numbers = {"share of sequences right": right, "picture": trace}
    tables = [Table("Free gates against each frozen form:", rows)]
    return Result(holds, verdict, numbers, draw(right, trace), tables)


def trace_of(net: Net) -> dict[str, list[list[float]]]:
    """Inputs, gates, cell states and output along one test sequence."""
    x, y = store_and_recall(np.random.default_rng(1), 1)
    trace = run_net(net, x)
    return {
        "inputs": x[:, :, 0].tolist(),
        "target": y[:, :, 0].tolist(),
        "output": trace.outputs[:, :, 0].tolist(),
        "input gate": trace.acts[:, net.rows("i"), 0].tolist(),
        "output gate": trace.acts[:, net.rows("o"), 0].tolist(),
        "cell state": trace.cells[1:, :, 0].tolist(),
    }


def draw(right: dict[str, list[float]], trace: dict[str, list[list[float]]]) -> Figure:
    """One sequence on the left, all networks on the right."""
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    grid = figure.add_gridspec(4, 2, width_ratios=(1.5, 1))
    for row, name in enumerate(("inputs", "input gate", "cell state", "output gate")):
        axes = figure.add_subplot(grid[row, 0])
        lines = axes.plot(range(1, STEPS + 1), trace[name], "o-", ms=3, lw=1)
        labels = [f"cell {number + 1}" for number in range(H)]
        if name == "inputs":
            labels = ["value", "store", "recall"]
        if name == "output gate":
            lines += axes.plot(range(1, STEPS + 1), trace["output"], "k--", lw=1)
            labels.append("network's output")
        axes.legend(
            lines, labels, fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1)
        )
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        if row == 0:
            axes.set_title("both gates free, the first seed that learnt it, one test sequence")
        if row == 3:
            axes.set_xlabel("step")
    axes = figure.add_subplot(grid[:, 1])
    for number, shares in enumerate(right.values()):
        offsets = number + np.linspace(-0.35, 0.35, len(shares))
        axes.plot(
            offsets, sorted(shares), ".", ms=4, color="C2" if number == 0 else "C3", alpha=0.7
        )
    axes.axhline(SHARE, color="k", lw=0.8, ls=":")
    axes.set_xticks(range(len(right)), [name.replace(" ", "\n", 1) for name in right])
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("test sequences right at every step")
    axes.set_title("all seeds; dotted: counts as learnt")
    axes.grid(alpha=0.3)
    return figure


EXPERIMENT = Experiment(
    name="weight-conflicts",
    title="Gates resolve weight conflicts",
    source="Hochreiter & Schmidhuber 1997, section 3.2 (input and output weight conflict) and "
    "section 4",
    claim="Without gates the same incoming weight has to store some inputs and ignore others, and "
    "the same outgoing weight to show the memory at some times and to hide it at others. The input "
    "and the output gate resolve the two conflicts.",
    setup=f"A task of our own: {STEPS} steps with a value of ±1 each; one of the first "
    f"{STORE_WITHIN} is marked, to be stored among distractors; at the last step the network has "
    f"to show it, and 0 before. {H} cells (`lstm-1997`); a frozen gate has an activation of 1 and "
    f"no weights to train. {SEEDS} seeds, at most {UPDATES:,} updates of {BATCH} new sequences, "
    f"Adam with a rate of {RATE}, gradients clipped to 1. A seed has learnt the task if at least "
    f"98 % of {TEST_SEQUENCES} test sequences are within {TOLERANCE} of the target at every step. "
    f"They are tested every {TEST_EVERY} updates, and a run ends at the first test that it passes. "
    "It holds if free gates succeed with more seeds than every frozen form: the interval of each "
    f"difference is above 0 and Fisher's p is below {SIGNIFICANT}, two-sided. Sizes and rate were "
    "set beforehand and not tuned.",
    scaled="",
    steps=len(FROZEN) * SEEDS,
    run=run,
)
