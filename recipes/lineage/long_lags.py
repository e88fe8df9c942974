"""Long time lags: two tasks in which the answer lies far back, for the RNN and the LSTM of 1997."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
from matplotlib.figure import Figure

from recipes.lineage.experiment import Experiment, Result, Settings, Table
from recipes.lineage.statistics import DIFFERENCE, SIGNIFICANT, compare, share
from recipes.lineage.tiny import Adam, Floats, Net, step
from recipes.lineage.tiny import run as run_net

__all__ = ["EXPERIMENT", "adding", "two_symbols"]

LAGS = (10, 30, 100)
SEEDS, REDUCED_SEEDS = 50, 2
CELLS = ("rnn", "lstm-1997")
RATES = (3e-3, 1e-2, 3e-2)  # swept for both
SWEPT_SEEDS, FIRST_SWEPT = 6, 10_000  # no verdict rests on them
TEST_EVERY = 50  # updates

Learnt = dict[str, dict[str, dict[str, list[int | None]]]]  # by task, cell and lag: each seed's
Left = dict[str, dict[str, dict[str, list[float]]]]
Sweep = dict[str, dict[str, dict[str, list[int | None]]]]  # by task, cell and rate
Draw = Callable[[np.random.Generator, int, int], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Task:
    """A task, its sizes, and when it counts as learnt.

    ``draw(rng, lag, sequences)`` gives inputs ``(T, I, B)`` and targets ``(O, B)`` for the last
    step. A success is judged by ``tested`` sequences; ``tolerance`` is the absolute error beyond
    which a sequence is wrong, and ``wrong`` the share of wrong sequences that a success may have.
    """

    title: str
    draw: Draw
    cells: int
    batch: int
    updates: int
    tested: int
    tolerance: float
    wrong: float


def two_symbols(rng: np.random.Generator, lag: int, sequences: int) -> tuple[Floats, Floats]:
    """x or y, then always the same ``lag - 1`` symbols; at their end: which of the two was it?

    Inputs are one-hot over ``lag + 1`` symbols (Hochreiter & Schmidhuber 1997, task 2a).
    """
    first = np.arange(sequences) % 2
    inputs = np.zeros((lag, lag + 1, sequences), np.float32)
    inputs[0, first, np.arange(sequences)] = 1
    inputs[np.arange(1, lag), 1 + np.arange(1, lag)] = 1
    return inputs, np.eye(2, dtype=np.float32)[first].T


def adding(rng: np.random.Generator, lag: int, sequences: int) -> tuple[Floats, Floats]:
    """Numbers in [-1, 1], two of them marked; the target is 0.5 + (their sum) / 4.

    One mark is among the first tenth, at most 10 steps, the other in the first half after it, so
    the shortest lag is half of the sequence (Hochreiter & Schmidhuber 1997, task 4).
    """
    inputs = np.zeros((lag, 2, sequences), np.float32)
    inputs[:, 0] = rng.uniform(-1, 1, (lag, sequences))
    early = max(1, min(10, lag // 10))
    one = rng.integers(early, size=sequences)
    other = rng.integers(early, lag // 2, size=sequences)
    columns = np.arange(sequences)
    inputs[one, 1, columns] = inputs[other, 1, columns] = 1
    total = inputs[one, 0, columns] + inputs[other, 0, columns]
    return inputs, (0.5 + total / 4)[None]


TASKS = {
    "two symbols": Task("two symbols, noise-free", two_symbols, 4, 2, 1500, 2, 0.25, 0.0),
    "adding": Task("adding problem", adding, 12, 32, 3000, 512, 0.04, 0.02),
}


def network(cell: str, inputs: int, cells: int, outputs: int, seed: int) -> Net:
    """A recurrent layer and a linear readout.

    The RNN begins with an orthogonal recurrent matrix, the LSTM with negative biases of the output
    gates, both as remedies known from the literature.
    """
    net = Net(cell, inputs, cells, outputs).draw(seed)
    if cell == "rnn":
        drawn = np.random.default_rng([seed, 3]).standard_normal((cells, cells))
        net.weight[net.rows("z"), inputs : inputs + cells] = np.linalg.qr(drawn)[0]
    else:
        net.bias("o")[:] = -1
    return net


def train(
    task: Task, cell: str, lag: int, seed: int, rate: float, updates: int
) -> tuple[int | None, float]:
    """The number of updates after which the task was learnt, or None, and the error left then.

    The error is the mean square on the test sequences by that of always saying the targets' mean.
    """
    rng = np.random.default_rng([seed, 1])
    test_x, test_y = task.draw(np.random.default_rng([seed, 2]), lag, task.tested)
    adam = Adam(network(cell, test_x.shape[1], task.cells, len(test_y), seed))
    ignorant = np.square(test_y - test_y.mean(1, keepdims=True)).mean()
    weights = np.zeros((lag, 1, 1), np.float32)  # only the last step has a target
    weights[-1] = 1 / (task.batch * len(test_y))
    left = 1.0
    for update in range(1, updates + 1):
        step(adam, *task.draw(rng, lag, task.batch), weights, rate)
        if update % TEST_EVERY == 0:
            off = np.abs(run_net(adam.net, test_x).outputs[-1] - test_y)
            left = float(np.square(off).mean() / ignorant)
            if (off.max(0) > task.tolerance).mean() <= task.wrong:
                return update, left
    return None, left


def run(settings: Settings) -> Result:
    """Sweep the rates at the longest lag for both cells alike, then every task, lag and seed."""
    lags = (30,) if settings.reduced else LAGS
    count = REDUCED_SEEDS if settings.reduced else SEEDS
    seeds = range(settings.first_seed, settings.first_seed + count)
    tasks = ("adding",) if settings.reduced else tuple(TASKS)
    learnt: Learnt = {}
    left: Left = {}
    swept: Sweep = {}

    def once(name: str, cell: str, lag: int, seed: int, rate: float) -> tuple[int | None, float]:
        task = TASKS[name]
        key = f"{name}, {cell}, lag {lag}, seed {seed}, rate {rate}, {task.updates} updates"
        one = partial(train, task, cell, lag, seed, rate, task.updates)
        updates, error = settings.once(key, one)
        settings.advance(key)
        return updates, error

    for name in tasks:
        for cell in CELLS:
            tried = {
                rate: [
                    once(name, cell, lags[-1], FIRST_SWEPT + number, rate)
                    for number in range(SWEPT_SEEDS)
                ]
                for rate in (() if settings.reduced else RATES)
            }
            rate = max(tried, key=lambda rate: _merit(tried[rate]), default=RATES[1])
            swept.setdefault(name, {})[cell] = {
                str(each): [updates for updates, _ in found] for each, found in tried.items()
            }
            for lag in lags:
                found = [once(name, cell, lag, seed, rate) for seed in seeds]
                learnt.setdefault(name, {}).setdefault(cell, {})[str(lag)] = [f[0] for f in found]
                left.setdefault(name, {}).setdefault(cell, {})[str(lag)] = [f[1] for f in found]
    return judge(swept, learnt, left, count)


def _merit(found: list[tuple[int | None, float]]) -> tuple[int, float]:
    """By how many learnt it, then by how little of the variance is left."""
    return sum(u is not None for u, _ in found), -sum(left for _, left in found)


def judge(swept: Sweep, learnt: Learnt, left: Left, seeds: int) -> Result:
    """At the longest lag the LSTM has to succeed more often than the RNN, beyond chance."""
    every = list(next(iter(next(iter(learnt.values())).values())))  # lags, rising
    rows = [["task", "lag", "LSTM", "RNN", *DIFFERENCE, "variance left by LSTM, RNN (median)"]]
    holds, parts = True, []
    for name, cells in learnt.items():
        for lag in every:
            lstm, rnn = (_learnt(cells[cell][lag]) for cell in ("lstm-1997", "rnn"))
            found = compare(lstm, seeds, rnn, seeds)
            medians = (f"{median(left[name][cell][lag]):.2g}" for cell in ("lstm-1997", "rnn"))
            shares = [share(lstm, seeds), share(rnn, seeds)]
            rows.append([name, lag, *shares, *found.cells, ", ".join(medians)])
        holds &= found.low > 0 and found.p < SIGNIFICANT  # at the longest lag
        parts.append(f"{name}: the LSTM with {shares[0]}, the RNN with {shares[1]}, {found}")
    verdict = f"Seeds that learnt it at lag {every[-1]}. {'. '.join(map(_begun, parts))}."
    numbers = {
        "sweep of rates": swept,
        "updates until learnt": learnt,
        "share of variance left": left,
        "seeds": seeds,
    }
    tables = [Table("At every lag:", rows)]
    tables += [Table("The sweep: how many of the other seeds learnt it by rate:", _told(swept))]
    return Result(holds, verdict, numbers, draw_figure(learnt, left), tables)


def _learnt(found: list[int | None]) -> int:
    return sum(updates is not None for updates in found)


def _begun(text: str) -> str:
    return text[0].upper() + text[1:]


def _told(swept: Sweep) -> list[list[str]]:
    rows = [["task", "cell", "rate: seeds"]]
    for name, cells in swept.items():
        for cell, rates in cells.items():
            told = (f"{rate}: {_learnt(found)} of {len(found)}" for rate, found in rates.items())
            rows.append([name, cell, ", ".join(told)])
    return rows


def draw_figure(learnt: Learnt, left: Left) -> Figure:
    """Success rate against lag, how long each success took, and the error of every network."""
    figure = Figure(figsize=(4.6 * len(learnt), 8.5), layout="constrained")
    axes = figure.subplots(3, len(learnt), squeeze=False)
    for column, (name, cells) in enumerate(learnt.items()):
        rate, updates, error = axes[:, column]
        for number, (cell, lags) in enumerate(cells.items()):
            color, x = ("C3", "C2")[number], [int(lag) for lag in lags]
            rates = [sum(u is not None for u in found) / len(found) for found in lags.values()]
            rate.plot(x, rates, "o-", color=color, label=cell, alpha=0.8)
            shift = 0.93 if number else 1.07  # so that both show
            for lag, found in lags.items():
                took = [u for u in found if u is not None]
                updates.plot([int(lag) * shift] * len(took), took, "o", color=color, alpha=0.6)
                ends = left[name][cell][lag]
                error.plot([int(lag) * shift] * len(ends), ends, "o", color=color, alpha=0.6)
        rate.set_title(TASKS[name].title)
        rate.set_ylim(-0.05, 1.05)
        rate.set_ylabel("seeds that learnt it")
        updates.set_ylabel("updates until learnt")
        updates.set_ylim(0, TASKS[name].updates * 1.05)
        error.set_ylabel("share of variance left at the end")
        error.set_yscale("log")
        error.axhline(1.0, color="k", lw=0.8, ls=":")  # as good as saying the mean
        for one in (rate, updates, error):
            one.set_xscale("log")
            one.set_xlim(min(x) * 0.8, max(x) * 1.25)
            one.set_xticks(x, [str(lag) for lag in x])
            one.minorticks_off()
            one.set_xlabel("lag (steps)")
            one.grid(alpha=0.3)
        rate.legend(frameon=False)
    return figure


EXPERIMENT = Experiment(
    name="long-lags",
    title="Long time lags are learnt by cells, not by simple units",
    source="Hochreiter & Schmidhuber 1997, section 5: tasks 2a (noise-free sequences with long "
    "time lags) and 4 (adding problem)",
    claim="A simple recurrent network fails where an answer depends on an input many steps back; "
    "the LSTM learns it.",
    setup=f"`rnn` against `lstm-1997`, {SEEDS} seeds, lags of {', '.join(map(str, LAGS))} steps. "
    "Two symbols: 4 cells, the two sequences in every update, at most 1,500 updates; learnt when "
    "the largest error is below 0.25 on both, the paper's criterion. Adding: 12 cells, 32 new "
    "sequences an update, at most 3,000 updates; learnt when at most 2 % of 512 test "
    "sequences are off by more than 0.04, the error that counts as wrong in the paper. Tested "
    "every 50 updates. Adam, gradients clipped to a norm of 1; the RNN begins orthogonal. In each "
    f"task each cell has its best rate of {', '.join(map(str, RATES))}, by {SWEPT_SEEDS} other "
    "seeds at the longest lag. The adding problem's updates were doubled once, for the RNN's "
    "sake. It holds if in both tasks "
    "the LSTM succeeds with more seeds at the longest lag: the interval of the difference is above "
    f"0 and Fisher's p is below {SIGNIFICANT}, two-sided. The share of the targets' variance that "
    "each network leaves tells being far from an answer from not being exact enough.",
    scaled="Lags up to 100 (the paper: up to 1,000); batches and Adam instead of one sequence at a "
    "time and plain gradient descent; the whole gradient instead of the truncated one; only "
    "the last step has a target. Adding: sequences of one length, here called the lag (the paper: "
    "up to a tenth longer), without marks of -1 at both ends; the nearer mark is at least half of "
    "the lag back; 2 % of wrong sequences are allowed. A run ends at the first test that it "
    "passes.",
    steps=2 * len(CELLS) * (len(LAGS) * SEEDS + len(RATES) * SWEPT_SEEDS),
    run=run,
)
