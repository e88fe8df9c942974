"""Clocks: what peepholes add to gates that see only what the output gate lets out."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from asr.nn.recurrent import RecurrentLayer, RecurrentStack
from recipes.lineage.experiment import Experiment, Result, Settings
from recipes.lineage.statistics import compare
from recipes.lineage.timing_tasks import TASKS, Batch, Task
from recipes.lineage.truncated import TruncatedLayer

__all__ = ["EXPERIMENT"]

LAST_RATE = 0.1  # of the first learning rate, reached in equal ratios
TEST_SEED = 1_000_000
CURVE_ERROR = 0.1  # root mean square, of a curve from 0 to 1; half of what one late step costs
SIGNIFICANT = 0.05


class System(NamedTuple):
    """A contender; ``truncated``: it learns by the paper's gradient."""

    label: str
    cell: str
    truncated: bool
    colour: str


PLAIN = System("without peepholes", "lstm", True, "tab:blue")
PEEPHOLE = System("peepholes", "peephole", True, "tab:green")
PLAIN_WHOLE = System("without, whole gradient", "lstm", False, "tab:cyan")
PEEPHOLE_WHOLE = System("peepholes, whole gradient", "peephole", False, "tab:olive")
SYSTEMS = (PLAIN, PEEPHOLE, PLAIN_WHOLE, PEEPHOLE_WHOLE)


@dataclass(frozen=True)
class Plan:
    """Sizes of a run."""

    tasks: tuple[Task, ...] = TASKS
    seeds: int = 10
    updates: int = 6000
    cells: int = 4
    learning_rate: float = 0.03


REDUCED = Plan(tasks=TASKS[:1], seeds=5, updates=1200)


class Bank(nn.Module):
    """S networks of H cells, side by side in one layer: no weight leads from one to another.

    They learn as each would alone: their losses are added, the gradient is clipped by element and
    Adam steps by element. One call of the kernel serves all.

    Args:
        system: of all of them.
        cells: H.
        seeds: S; network s begins with the weights of seed s.
    """

    def __init__(self, system: System, cells: int, seeds: int) -> None:
        super().__init__()
        self.shape = seeds, cells
        stack = RecurrentStack(1, seeds * cells, cell=system.cell)
        self.out = nn.Parameter(torch.empty(seeds, cells))
        self.out_bias = nn.Parameter(torch.empty(seeds))
        with torch.no_grad():
            self._draw(stack.layers[0])
        G = len(stack.layers[0].cell.gates)
        own = torch.eye(seeds).repeat_interleave(cells, 0).repeat_interleave(cells, 1)
        allowed = own.repeat(G, 1).unsqueeze(0)  # (1, G * S * H, S * H)
        self.memory: nn.Module = stack
        learnt = stack.layers[0].weight_hh
        if system.truncated:
            self.memory = TruncatedLayer(stack)
            learnt = self.memory.learner.layers[0].weight_ih
            allowed = torch.cat([torch.ones_like(allowed[..., :1]), allowed], 2)
        learnt.register_hook(lambda gradient: gradient * allowed)

    def _draw(self, layer: RecurrentLayer) -> None:
        S, H = self.shape
        for parameter in layer.parameters():
            parameter.zero_()
        gates = layer.weight_ih.view(-1, S, H, 1)
        recurrent = layer.weight_hh.view(-1, S, H, S, H)
        bias = layer.bias.view(-1, S, H)
        for s in range(S):
            torch.manual_seed(s)
            one = RecurrentLayer(1, H, cell=layer.cell.name)
            readout = nn.Linear(H, 1)
            gates[:, s] = one.weight_ih.view(-1, H, 1)
            recurrent[:, s, :, s] = one.weight_hh.view(-1, H, H)
            bias[:, s] = one.bias.view(-1, H)
            self.out[s], self.out_bias[s] = readout.weight[0], readout.bias[0]

    def forward(self, inputs: Tensor) -> Tensor:
        """Map ``inputs (T, B, 1)``, the same for all, to net outputs ``(T, B, S)``."""
        hidden, _ = self.memory(inputs)
        return (hidden.unflatten(2, self.shape) * self.out).sum(3) + self.out_bias


def learn(task: Task, system: System, plan: Plan) -> Bank:
    """Train ``plan.seeds`` networks."""
    bank = Bank(system, plan.cells, plan.seeds)
    learnt = [p for p in bank.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learnt, lr=plan.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, LAST_RATE ** (1 / plan.updates))
    rng = np.random.default_rng(0)
    for _ in range(plan.updates):
        optimizer.zero_grad()
        losses(task, bank, task.train(rng)).sum().backward()
        nn.utils.clip_grad_value_(learnt, 1.0)
        optimizer.step()
        schedule.step()
    return bank


def answers(task: Task, bank: Bank, batch: Batch) -> tuple[Tensor, Tensor]:
    """Outputs and targets where they count, ``(N, S)`` and ``(N, 1)``, in the order of time."""
    outputs = bank(batch.inputs)[batch.counts]
    return torch.sigmoid(outputs) if task.binary else outputs, batch.targets[batch.counts, None]


def losses(task: Task, bank: Bank, batch: Batch) -> Tensor:
    """Each network's mean square error ``(S,)``."""
    outputs, targets = answers(task, bank, batch)
    loss = (outputs - targets).square()
    if not task.ends_at_error:
        return loss.mean(0)
    erred = ((outputs > 0.5) != (targets > 0.5)).long()
    heard = (erred.cumsum(0) - erred == 0).float()  # up to the first error, and it
    return (loss * heard).sum(0) / heard.sum(0)


@torch.no_grad()
def errors(task: Task, bank: Bank) -> list[float]:
    """Each network's share of wrong answers, or root mean square error, in the test."""
    outputs, targets = answers(task, bank, task.test(np.random.default_rng(TEST_SEED)))
    if task.binary:
        return ((outputs > 0.5) != (targets > 0.5)).float().mean(0).tolist()
    return (outputs - targets).square().mean(0).sqrt().tolist()


def solved(task: Task, error: float) -> bool:
    """Whether a network that errs so has solved the task."""
    return error == 0 if task.binary else error < CURVE_ERROR


def by_chance(more: int, fewer: int, runs: int) -> float:
    """Fisher's exact test, one-sided, of ``more`` against ``fewer`` successes in ``runs`` each."""
    total = more + fewer
    ways = sum(comb(runs, k) * comb(runs, total - k) for k in range(more, min(total, runs) + 1))
    return ways / comb(2 * runs, total)


# The experiment


def run(settings: Settings) -> Result:
    """Train and test every system on every task."""
    plan = REDUCED if settings.reduced else Plan()
    found: dict[str, dict[str, list[float]]] = {}
    for task in plan.tasks:
        found[task.name] = {}
        for system in SYSTEMS:
            found[task.name][system.label] = errors(task, learn(task, system, plan))
            settings.advance(f"{task.name}, {system.label}")
    return judge(plan, found)


def judge(plan: Plan, found: dict[str, dict[str, list[float]]]) -> Result:
    """Hold the claim against each network's error, by task and system."""
    counts = {
        task.name: {
            label: sum(solved(task, error) for error in errors)
            for label, errors in found[task.name].items()
        }
        for task in plan.tasks
    }
    total = {s.label: sum(counts[task.name][s.label] for task in plan.tasks) for s in SYSTEMS}
    runs = plan.seeds * len(plan.tasks)
    chance = {
        one.label: by_chance(total[one.label], total[other.label], runs)
        for one, other in ((PEEPHOLE, PLAIN), (PEEPHOLE_WHOLE, PLAIN_WHOLE))
    }
    numbers = {"errors": found, "solved": counts, "total": total, "runs": runs, "chance": chance}
    holds = chance[PEEPHOLE.label] < SIGNIFICANT
    return Result(holds, in_words(counts, plan.seeds), numbers, _draw(plan, found, counts))


def in_words(counts: dict[str, dict[str, int]], seeds: int) -> str:
    """The verdict: how many runs were solved in all, and in each task."""
    runs = seeds * len(counts)
    total = {s.label: sum(those[s.label] for those in counts.values()) for s in SYSTEMS}
    gains = [
        f"{total[one.label]} with peepholes against {total[other.label]} without by the {name} "
        f"gradient, {compare(total[one.label], runs, total[other.label], runs)}"
        for name, one, other in (
            ("paper's", PEEPHOLE, PLAIN),
            ("whole", PEEPHOLE_WHOLE, PLAIN_WHOLE),
        )
    ]
    each = "; ".join(
        f"{name} " + ", ".join(str(those[system.label]) for system in SYSTEMS)
        for name, those in counts.items()
    )
    return (
        f"Solved, of {runs} runs: {'; '.join(gains)}. By task, of {seeds} seeds (without, with; "
        f"then the same by the whole gradient): {each}."
    )


def _draw(
    plan: Plan, found: dict[str, dict[str, list[float]]], counts: dict[str, dict[str, int]]
) -> Figure:
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for number, system in enumerate(SYSTEMS):
        at = np.arange(len(plan.tasks)) + (number - 1.5) * 0.2
        heights = [counts[task.name][system.label] for task in plan.tasks]
        above.bar(at, heights, 0.16, color=system.colour, label=system.label)
        for place, task in zip(at, plan.tasks, strict=True):
            those = sorted(found[task.name][system.label])
            aside = place + np.linspace(-0.07, 0.07, len(those))
            below.plot(aside, those, "o", ms=3.5, mfc="none", color=system.colour)
    above.set(ylim=(0, plan.seeds + 0.5), ylabel=f"solved, of {plan.seeds} seeds")
    above.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    below.set_yscale("symlog", linthresh=1e-3)
    below.set(ylim=(-2e-4, 1.5), ylabel="error in the test, one mark a seed")
    names = [
        task.name + ("\n(share wrong)" if task.binary else "\n(RMS error)") for task in plan.tasks
    ]
    below.set_xticks(range(len(plan.tasks)), names)
    return figure


EXPERIMENT = Experiment(
    name="timing",
    title="Peepholes: gates that can tell the time",
    source="Gers & Schmidhuber 2000; Gers, Schraudolph & Schmidhuber 2002, section 4",
    claim="""\
A gate without peepholes sees a cell only through the output gate, and nothing of it while that is
closed. With peepholes LSTM learns to measure delays between spikes, to spike at intervals and to
draw periodic curves, where LSTM without them does worse or fails.""",
    setup="""\
MSD: spikes 10 or 11 (30 or 31) steps apart, at each the network tells which it was; solved with
1,000 test intervals right. GTS: a spike every 10 steps without any input; solved with 100 periods
right at every step. PFG: a curve of period 25 from 0 to 1, without input; solved with a root mean
square error under 0.1 over 100 periods, which leaves no room for a step of the rectangle at the
wrong time. Everything begins with a state of zero. Four cells, forget gates, a logistic output (PFG
a linear one), squared error over five intervals or periods; GTS up to the first error only, as a
training stream of the paper ends there. 6,000 updates by Adam at a rate falling from 0.03 to 0.003,
gradients clipped by element at 1; the same for all. **The gradient is the paper's in that errors do
not flow through recurrent weights; here they do flow through peepholes into the cell.** The same
systems also learn by the whole gradient. The claim holds if peepholes solve more runs by the
paper's gradient, all tasks together, with p < 0.05 in Fisher's exact test, one-sided.

Before this run one, two and four cells, rates from 0.01 to 0.05, cross entropy and spikes weighted
up in GTS were tried; none of them showed peepholes clearly ahead, and four cells were taken because
with one or two hardly any system solved GTS.""",
    scaled="""\
Delays to 31 steps (paper: to 51), GTS at one period; 6,000 updates. Beyond scale: four cells, each
a block of its own (the paper has a block or a few); tanh squashes a cell's output (2002: nothing
does); Adam, not online descent; MSD takes 8 streams at a time; training streams are five intervals
or periods long, so that nothing longer is seen before the test. Within this budget most networks
that learn by the paper's gradient solve nothing, so the comparison has little power: that peepholes
do not show their use here does not refute the paper.""",
    steps=len(TASKS) * len(SYSTEMS),
    run=run,
)
