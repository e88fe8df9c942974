"""Long time lags: two tasks in which the answer lies far back, for the RNN and the LSTM of 1997."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from asr.nn.recurrent import RecurrentStack
from recipes.lineage.experiment import Experiment, Result, Settings
from recipes.lineage.statistics import compare, share

__all__ = ["EXPERIMENT", "adding", "two_symbols"]

LAGS = (10, 30, 100)
SEEDS = 5
CELLS = {"rnn": 3e-3, "lstm-1997": 1e-2}  # and their learning rates
TEST_EVERY = 50  # updates
TEST_SEQUENCES = 512

Learnt = dict[str, dict[str, dict[str, list[int | None]]]]  # by task, cell and lag: each seed's
Left = dict[str, dict[str, dict[str, list[float]]]]
Draw = Callable[[torch.Generator, int, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Task:
    """A task, its sizes, and when it counts as learnt.

    ``draw(generator, lag, sequences)`` gives inputs ``(T, B, I)`` and targets ``(B, O)`` at the
    last step; ``tolerance`` is the absolute error beyond which a sequence is wrong, and ``wrong``
    the share of wrong test sequences that a success may have.
    """

    title: str
    draw: Draw
    cells: int
    batch: int
    updates: int
    tolerance: float
    wrong: float


def two_symbols(generator: torch.Generator, lag: int, sequences: int) -> tuple[Tensor, Tensor]:
    """x or y, then always the same ``lag - 1`` symbols; at their end: which of the two was it?

    Inputs are one-hot over ``lag + 1`` symbols (Hochreiter & Schmidhuber 1997, task 2a).
    """
    first = torch.arange(sequences) % 2
    symbols = torch.cat([first[None], 2 + torch.arange(lag - 1)[:, None].expand(-1, sequences)])
    one_hot = torch.eye(lag + 1)
    return one_hot[symbols], torch.eye(2)[first]


def adding(generator: torch.Generator, lag: int, sequences: int) -> tuple[Tensor, Tensor]:
    """Numbers in [-1, 1], two of them marked; the target is 0.5 + (their sum) / 4.

    One mark is among the first tenth, at most 10 steps, the other in the first half after it, so
    the shortest lag is half of the sequence (Hochreiter & Schmidhuber 1997, task 4).
    """
    values = 2 * torch.rand(lag, sequences, generator=generator) - 1
    marks = torch.zeros(lag, sequences)
    early = max(1, min(10, lag // 10))
    one = torch.randint(early, (sequences,), generator=generator)
    other = early + torch.randint(lag // 2 - early, (sequences,), generator=generator)
    columns = torch.arange(sequences)
    marks[one, columns] = marks[other, columns] = 1
    total = values[one, columns] + values[other, columns]
    return torch.stack([values, marks], dim=2), (0.5 + total / 4)[:, None]


TASKS = {
    "two symbols": Task("two symbols, noise-free", two_symbols, 4, 2, 1500, 0.25, 0.0),
    "adding": Task("adding problem", adding, 12, 32, 3000, 0.04, 0.02),
}


class Network(nn.Module):
    """A recurrent layer and a linear readout of its last step.

    The RNN begins with an orthogonal recurrent matrix, the LSTM with negative biases of the output
    gates, both as remedies known from the literature.
    """

    def __init__(self, cell: str, inputs: int, cells: int, outputs: int) -> None:
        super().__init__()
        self.recurrent = RecurrentStack(inputs, cells, cell=cell)
        self.readout = nn.Linear(cells, outputs)
        layer = self.recurrent.layers[0]
        with torch.no_grad():
            if cell == "rnn":
                nn.init.orthogonal_(layer.weight_hh[0])
            else:
                layer.bias[0, -cells:] = -1.0

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x (T, B, I)`` to ``(B, O)``."""
        return self.readout(self.recurrent(x)[0][-1])


def train(task: Task, cell: str, lag: int, seed: int, updates: int) -> tuple[int | None, float]:
    """The number of updates after which the task was learnt, or None, and the error left then.

    The error is the mean square on the test sequences by that of always saying the targets' mean.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    test_x, test_y = task.draw(torch.Generator().manual_seed(10_000 + seed), lag, TEST_SEQUENCES)
    network = Network(cell, test_x.shape[2], task.cells, test_y.shape[1])
    optimizer = torch.optim.Adam(network.parameters(), lr=CELLS[cell])
    ignorant = (test_y - test_y.mean(0)).square().mean()
    left = 1.0
    for update in range(1, updates + 1):
        x, y = task.draw(generator, lag, task.batch)
        loss = (network(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if update % TEST_EVERY == 0:
            with torch.no_grad():
                off = (network(test_x) - test_y).abs()
            left = float(off.square().mean() / ignorant)
            if (off.amax(1) > task.tolerance).float().mean() <= task.wrong:
                return update, left
    return None, left


def run(settings: Settings) -> Result:
    """Every task, cell, lag and seed."""
    lags = (10, 100) if settings.reduced else LAGS
    seeds = range(2 if settings.reduced else SEEDS)
    tasks = {"two symbols": TASKS["two symbols"]} if settings.reduced else TASKS
    learnt: Learnt = {}
    left: Left = {}
    for name, task in tasks.items():
        for cell in CELLS:
            for lag in lags:
                updates = 500 if settings.reduced else task.updates
                found = [train(task, cell, lag, seed, updates) for seed in seeds]
                learnt.setdefault(name, {}).setdefault(cell, {})[str(lag)] = [f[0] for f in found]
                left.setdefault(name, {}).setdefault(cell, {})[str(lag)] = [f[1] for f in found]
                settings.advance(f"{name}, {cell}, lag {lag}")
    return judge(learnt, left, len(seeds))


def judge(learnt: Learnt, left: Left, seeds: int) -> Result:
    """At the longest lag the LSTM has to succeed with most seeds and the RNN with fewer."""
    every = list(next(iter(next(iter(learnt.values())).values())))  # lags, rising
    holds = True
    for cells in learnt.values():
        won = {
            cell: [sum(u is not None for u in lags[lag]) for lag in every]
            for cell, lags in cells.items()
        }
        holds &= won["lstm-1997"][-1] > seeds / 2 and won["rnn"][-1] < won["lstm-1997"][-1]
    numbers = {"updates until learnt": learnt, "share of variance left": left, "seeds": seeds}
    return Result(holds, in_words(learnt, left, seeds), numbers, draw_figure(learnt, left))


def in_words(learnt: Learnt, left: Left, seeds: int) -> str:
    """The verdict: who learnt at which lag, and the difference at the longest."""
    parts = []
    for name, cells in learnt.items():
        won = {
            cell: [sum(u is not None for u in found) for found in lags.values()]
            for cell, lags in cells.items()
        }
        lstm, rnn = won["lstm-1997"], won["rnn"]
        lags = list(cells["rnn"])
        ends = [sorted(left[name]["rnn"][lag]) for lag in (lags[0], lags[-1])]
        short, long = (f"{end[0]:.2g} to {end[-1]:.2g}" for end in ends)
        parts.append(
            f"{name}: LSTM {', '.join(map(str, lstm))}, RNN {', '.join(map(str, rnn))}, which "
            f"leaves {short} of the targets' variance at lag {lags[0]} and {long} at {lags[-1]}; "
            f"at lag {lags[-1]} the LSTM {share(lstm[-1], seeds)}, the RNN "
            f"{share(rnn[-1], seeds)}: {compare(lstm[-1], seeds, rnn[-1], seeds)}"
        )
    every = ", ".join(next(iter(next(iter(learnt.values())).values())))
    return f"Seeds of {seeds} that learnt at lags {every}: {'. '.join(parts)}."


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
    "every 50 updates. Adam with rates of 0.003 for the RNN and 0.01 for the LSTM, gradients "
    "clipped to a norm of 1; the RNN begins orthogonal. The rates were not tuned; the adding "
    "problem's updates were doubled once, for the RNN's sake. It holds if at the longest lag "
    "the LSTM succeeds with more than half of the seeds, and the RNN with fewer than the "
    "LSTM, in both tasks. The share of the targets' variance that each network leaves was added "
    "after a first full run, in which the RNN did not learn to add at the shortest lag either: it "
    "tells being far from an answer from not being exact enough. In a trial at lag 10 the RNN "
    "became exact enough with 9,000 updates (2 of 2 seeds) or 48 cells (2 of 2), and with 3,000 "
    "updates and 12 cells at a rate of 0.01 in 1 of 3, at 0.001 in none.",
    scaled="Lags up to 100 (the paper: up to 1,000); batches and Adam instead of one sequence at a "
    "time and plain gradient descent; the whole gradient instead of the truncated one; only "
    "the last step has a target. Adding: sequences of one length, here called the lag (the paper: "
    "up to a tenth longer), without marks of -1 at both ends; the nearer mark is at least half of "
    "the lag back; 2 % of wrong sequences are allowed. A run ends at the first test that it "
    "passes.",
    steps=2 * len(CELLS) * len(LAGS),
    run=run,
)
