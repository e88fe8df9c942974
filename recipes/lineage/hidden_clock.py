"""Two tasks in which a cell counts unseen: our own, which shuts the gate, and a public one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recipes.lineage.experiment import Experiment, Result, Settings, Table
from recipes.lineage.statistics import DIFFERENCE, SIGNIFICANT, compare, paired, share
from recipes.lineage.tiny import Adam, Floats, Net, step
from recipes.lineage.tiny import run as run_net

__all__ = ["EXPERIMENT", "doubled_interval", "silent_count"]

WITHOUT, WITH = "without peepholes", "peepholes"
FORMS = {WITHOUT: "lstm", WITH: "peephole"}
COLOURS = {WITHOUT: "tab:blue", WITH: "tab:green"}
FIRST_SWEPT = 10_000  # seeds of the sweeps, which no verdict rests on
EVENTS, COUNT_STEPS, COUNT_BATCH = 5, 20, 32
SILENCE, SPIKE = 0.2, 0.5  # a silent output stays below, a spike is above
QUIET = 0.1  # of a silent step's error, in units of the spike's
SHARE = 0.98  # of test sequences that are right at every step: the count is learnt
SHUT = -2.0  # the output gate's bias at first: nearly shut
INTERVAL_CELLS = 8
TEST_SEQUENCES = 512


@dataclass(frozen=True)
class Plan:
    """Sizes of a run.

    Attributes:
        seeds, swept_seeds, rates, updates: of the silent count.
        free_cells: in the comparison with a trained readout; 0 leaves it out.
        interval_seeds, interval_swept, interval_rates, interval_updates, interval_batch: of the
            doubled interval; no seeds leave it out.
        gaps: between the doubled interval's two spikes, at least and at most.
        steps: of its sequences.
    """

    seeds: int = 100
    swept_seeds: int = 10
    rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)
    updates: int = 2000
    free_cells: int = 4
    interval_seeds: int = 50
    interval_swept: int = 5
    interval_rates: tuple[float, ...] = (0.005, 0.01, 0.02)
    interval_updates: int = 3000
    interval_batch: int = 32
    gaps: tuple[int, int] = (30, 60)
    steps: int = 150


REDUCED = Plan(seeds=3, swept_seeds=0, rates=(0.1,), updates=1500, free_cells=0, interval_seeds=0)


# The silent count: our own


def silent_count(rng: np.random.Generator, sequences: int) -> tuple[Floats, Floats, Floats]:
    """Be silent until the fifth event, at that step spike.

    Inputs ``(T, 1, B)``: 1 at an event, at half of the steps, else 0. Targets ``(T, 1, B)``: 1 at
    the fifth event, before it 0. The third array, of the same shape, is 1 at the steps that count:
    those up to the spike.
    """
    inputs = rng.integers(2, size=(COUNT_STEPS, 1, sequences))
    seen = inputs.cumsum(0)
    targets = (seen == EVENTS) & (inputs == 1)
    counts = (seen < EVENTS) | targets
    return inputs.astype(np.float32), targets.astype(np.float32), counts.astype(np.float32)


def counter(cell: str, seed: int, cells: int) -> Net:
    """With one cell what it shows is what is said; with more a trained readout may hide cells."""
    net = Net(cell, 1, cells, 1).draw(seed)
    net.bias("o")[:] = SHUT
    if cells == 1:
        _, _, learns = net.views(net.learns)
        net.readout[:], learns[:] = (1, 0), 0
    return net


def train_count(cell: str, seed: int, cells: int, rate: float, updates: int) -> list[Any]:
    """The share of test sequences that are right at every step, the loss on them, the weights."""
    rng = np.random.default_rng([seed, 1])
    adam = Adam(counter(cell, seed, cells))
    for update in range(updates):
        inputs, targets, counts = silent_count(rng, COUNT_BATCH)
        late = update >= 0.7 * updates
        step(adam, inputs, targets, _weights(targets, counts), rate * (0.2 if late else 1))
    inputs, targets, counts = silent_count(np.random.default_rng([seed, 2]), TEST_SEQUENCES)
    off = np.abs(run_net(adam.net, inputs).outputs - targets) * counts
    right = (off < np.where(targets > 0, SPIKE, SILENCE)).all((0, 1)).mean()
    loss = (_weights(targets, counts) * off * off).sum()
    return [float(right), float(loss), adam.net.theta.tolist()]


def _weights(targets: Floats, counts: Floats) -> Floats:
    """Means over the sequences; the spike weighs 1, a silent step that counts ``QUIET``."""
    quiet = np.float32(QUIET)
    weights: Floats = counts * (quiet + (1 - quiet) * targets) / np.float32(targets.shape[2])
    return weights


# The doubled interval: public


def doubled_interval(
    rng: np.random.Generator, plan: Plan, sequences: int
) -> tuple[Floats, Floats, Floats]:
    """Two spikes; the target is a third, as far after the second as that is after the first.

    Inputs and targets ``(T, 1, B)``, and the steps of the targets ``(B,)``.
    """
    gap = rng.integers(plan.gaps[0], plan.gaps[1] + 1, sequences)
    first = rng.integers(0, plan.steps - 2 * gap)
    columns = np.arange(sequences)
    inputs = np.zeros((plan.steps, 1, sequences), np.float32)
    targets = np.zeros_like(inputs)
    inputs[first, 0, columns] = inputs[first + gap, 0, columns] = 1
    targets[first + 2 * gap, 0, columns] = 1
    return inputs, targets, first + 2 * gap


def train_interval(cell: str, seed: int, rate: float, plan: Plan) -> float:
    """The share of test sequences whose highest output after the second spike is the target."""
    rng = np.random.default_rng([seed, 1])
    H = INTERVAL_CELLS
    net = Net(cell, 1, H, 1)
    net.weight[:, 0] = 0.5 * rng.standard_normal(4 * H)
    net.weight[:, 1 : 1 + H] = 0.5 * H**-0.5 * rng.standard_normal((4 * H, H))
    net.bias("f")[:] = 1
    net.readout[0, :H] = H**-0.5 * rng.standard_normal(H)
    peepholes = 0.1 * rng.standard_normal((3, H))
    if cell == "peephole":
        net.peephole[:] = peepholes
    adam = Adam(net)
    for update in range(plan.interval_updates):
        x, y, _ = doubled_interval(rng, plan, plan.interval_batch)
        halved = 0.5 if update >= plan.interval_updates / 2 else 1.0
        step(adam, x, y, 0.5 / plan.interval_batch, rate * halved)
    return exact_share(net, plan, np.random.default_rng([seed, 2]))


def exact_share(net: Net, plan: Plan, rng: np.random.Generator) -> float:
    """Of test sequences, those in which the spike is at exactly the right step."""
    x, _, goal = doubled_interval(rng, plan, TEST_SEQUENCES)
    outputs = run_net(net, x).outputs[:, 0]  # (T, B)
    second = plan.steps - 1 - x[::-1, 0].argmax(0)
    outputs[np.arange(plan.steps)[:, None] <= second] = -np.inf
    return float((outputs.argmax(0) == goal).mean())


# The experiment

Counts = dict[str, list[list[Any]]]  # by form, of each seed: what train_count gives
Sweep = dict[str, dict[str, list[float]]]  # by form and rate: each seed's share


@dataclass(frozen=True)
class Tries:
    """Networks of both forms, trained once and kept."""

    settings: Settings
    plan: Plan

    def count(self, form: str, seed: int, cells: int, rate: float) -> list[Any]:
        """A network of the silent count."""
        updates = self.plan.updates
        key = f"count, {form}, {cells} cells, rate {rate}, seed {seed}, {updates} updates"
        one = partial(train_count, FORMS[form], seed, cells, rate, updates)
        found: list[Any] = self.settings.once(key, one)
        self.settings.advance(key)
        return found

    def interval(self, form: str, seed: int, rate: float) -> float:
        """A network of the doubled interval."""
        key = f"interval, {form}, rate {rate}, seed {seed}, {_sizes(self.plan)}"
        one = partial(train_interval, FORMS[form], seed, rate, self.plan)
        found: float = self.settings.once(key, one)
        self.settings.advance(key)
        return found


def _sizes(plan: Plan) -> str:
    return f"{plan.interval_updates} updates of {plan.interval_batch}, {plan.gaps} in {plan.steps}"


def run(settings: Settings) -> Result:
    """Sweep the rates of both tasks for both forms alike, then run both with all seeds."""
    plan = REDUCED if settings.reduced else Plan()
    tries = Tries(settings, plan)
    seeds = range(settings.first_seed, settings.first_seed + plan.seeds)
    swept: Sweep = {
        form: {
            str(rate): [tries.count(form, seed, 1, rate)[0] for seed in _swept(plan.swept_seeds)]
            for rate in plan.rates
        }
        for form in FORMS
    }
    counts: Counts = {
        form: [tries.count(form, seed, 1, _best(swept[form])) for seed in seeds] for form in FORMS
    }
    free: Counts = {
        form: [tries.count(form, seed, plan.free_cells, _best(swept[form])) for seed in seeds]
        for form in (FORMS if plan.free_cells else ())
    }
    intervals, interval_sweep = run_intervals(tries, settings.first_seed)
    return judge(swept, counts, free, interval_sweep, intervals)


def run_intervals(tries: Tries, first_seed: int) -> tuple[dict[str, list[float]], Sweep]:
    """The doubled interval's shares by form, and those of its sweep."""
    plan = tries.plan
    if not plan.interval_seeds:
        return {}, {}
    swept: Sweep = {
        form: {
            str(rate): [tries.interval(form, seed, rate) for seed in _swept(plan.interval_swept)]
            for rate in plan.interval_rates
        }
        for form in FORMS
    }
    seeds = range(first_seed, first_seed + plan.interval_seeds)
    return {
        form: [tries.interval(form, seed, _best(swept[form])) for seed in seeds] for form in FORMS
    }, swept


def _swept(count: int) -> range:
    return range(FIRST_SWEPT, FIRST_SWEPT + count)


def _best(tried: dict[str, list[float]]) -> float:
    """The rate with the highest mean share; the first of equals."""
    return float(max(tried, key=lambda rate: float(np.sum(tried[rate]))))


def judge(
    swept: Sweep,
    counts: Counts,
    free: Counts,
    interval_sweep: Sweep,
    intervals: dict[str, list[float]],
) -> Result:
    """It holds if peepholes learn the silent count more often, beyond chance."""
    seeds = len(counts[WITH])
    won, free_won = (
        {form: sum(found[0] >= SHARE for found in those) for form, those in each.items()}
        for each in (counts, free)
    )
    gain = compare(won[WITH], seeds, won[WITHOUT], seeds)
    verdict = (
        f"Peepholes learn the silent count with {share(won[WITH], seeds)} seeds, the cell without "
        f"them with {share(won[WITHOUT], seeds)}: {gain}."
    )
    rows = [["task", "peepholes", "without", *DIFFERENCE]]
    rows.append(_counted("silent count, one cell", won, seeds))
    if free:
        rows.append(_counted("the same, several cells and a trained readout", free_won, seeds))
    tables = [Table("Seeds that learnt it:", rows)]
    if intervals:
        verdict += " " + _interval_verdict(intervals)
    sweeps = {"silent count": swept, "doubled interval": interval_sweep}
    tables.append(Table("The sweeps: mean share of right test sequences by rate:", _told(sweeps)))
    numbers = {
        "sweep of rates": swept,
        "silent count": {form: [found[:2] for found in those] for form, those in counts.items()},
        "trained readout": {form: [found[:2] for found in those] for form, those in free.items()},
        "interval's sweep of rates": interval_sweep,
        "doubled interval": intervals,
    }
    holds = gain.low > 0 and gain.p < SIGNIFICANT
    return Result(holds, verdict, numbers, draw(counts, free, intervals), tables)


def _counted(task: str, won: dict[str, int], seeds: int) -> list[str]:
    shares = [share(won[form], seeds) for form in (WITH, WITHOUT)]
    return [task, *shares, *compare(won[WITH], seeds, won[WITHOUT], seeds).cells]


def _interval_verdict(shares: dict[str, list[float]]) -> str:
    bare, looking = shares[WITHOUT], shares[WITH]
    gain = paired([b - a for a, b in zip(bare, looking, strict=True)])
    unseen = gain.unseen
    smallest = "" if unseen is None else f"; {100 * unseen:.0f} points would have been seen"
    return (
        f"Doubled interval: {100 * np.mean(looking):.1f} % of test spikes are exact with "
        f"peepholes, {100 * np.mean(bare):.1f} % without (medians {100 * np.median(looking):.1f} "
        f"and {100 * np.median(bare):.1f}); the difference, paired by seed, is "
        f"{100 * gain.mean:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}), "
        f"p = {gain.p:.2g}, {len(bare)} seeds{smallest}."
    )


def _told(sweeps: dict[str, Sweep]) -> list[list[str]]:
    """A row for each task and form."""
    rows = [["task", "form", "rate: share"]]
    for task, swept in sweeps.items():
        for form, rates in swept.items():
            told = (f"{r}: {100 * np.mean(s):.1f} %" for r, s in rates.items() if s)
            rows.append([task, form, ", ".join(told)])
    return rows


def draw(counts: Counts, free: Counts, intervals: dict[str, list[float]]) -> Figure:
    """One sequence, and the share of right sequences of every network."""
    figure = Figure(figsize=(12.5, 4.4), layout="constrained")
    sequence, learnt, exact = figure.subplots(1, 3, width_ratios=(1.3, 1.2, 0.8))
    draw_sequence(sequence, counts)
    groups = {f"{form}": [f[0] for f in those] for form, those in counts.items()}
    groups |= {f"{form}, readout": [f[0] for f in those] for form, those in free.items()}
    draw_shares(learnt, groups)
    learnt.set(title="Silent count, one mark a seed", ylabel="test sequences right at every step")
    draw_shares(exact, intervals)
    exact.set(title="Doubled interval", ylabel="test spikes at exactly the right step")
    return figure


def draw_sequence(axes: Axes, counts: Counts) -> None:
    """What the best network of each form shows along one test sequence."""
    inputs, targets, valid = silent_count(np.random.default_rng(3), 1)
    until = int(valid.sum())
    steps = np.arange(1, until + 1)
    events = steps[inputs[:until, 0, 0] > 0]
    axes.plot(events, np.full(len(events), -0.05), "k^", ms=5, label="events")
    axes.plot(steps, targets[:until, 0, 0], "k:", drawstyle="steps-mid", lw=1, label="target")
    for form, those in counts.items():
        net = counter(FORMS[form], 0, 1)
        net.theta[:] = min(those, key=lambda found: float(found[1]))[2]
        shown = run_net(net, inputs).outputs[:until, 0, 0]
        axes.plot(steps, shown, "o-", ms=3, color=COLOURS[form], label=f"output, {form}")
    axes.set(title="Silent count: the best network of each", xlabel="step", ylim=(-0.12, 1.08))
    axes.legend(frameon=False, fontsize="small", loc="upper left")


def draw_shares(axes: Axes, groups: dict[str, list[float]]) -> None:
    """A column of marks for each group."""
    for column, (name, values) in enumerate(groups.items()):
        aside = column + np.linspace(-0.3, 0.3, len(values))
        axes.plot(aside, sorted(values), ".", ms=5, color=COLOURS[name.split(",")[0]])
    names = [name.replace(" ", "\n", 1).replace(", ", ",\ntrained ") for name in groups]
    axes.set_xticks(range(len(groups)), names, fontsize="small")
    axes.set_ylim(-0.03, 1.03)
    axes.grid(axis="y", alpha=0.3)


FULL = Plan()
EXPERIMENT = Experiment(
    name="hidden-clock",
    title="A count that must not be heard",
    source="our own; the doubled interval is a public variant of a task of Gers, Schraudolph & "
    "Schmidhuber 2002",
    claim="""\
Where showing the cell costs loss, the output gate has to stay shut while the cell counts. Then only
a peephole lets the gate know when to open.""",
    setup=f"""\
Silent count, our own: an event comes at half of the steps; the output must be 0 until the fifth
event and 1 at it. One cell, whose output is the answer, so nothing but the gate can hide it; the
gate begins nearly shut (bias {SHUT:g}). A
silent step weighs a tenth of the spike. A sequence is right if all silent steps are within
{SILENCE} of 0 and the spike is above {SPIKE}; the count is learnt if 98 % of {TEST_SEQUENCES} test
sequences are right after {FULL.updates:,} updates of {COUNT_BATCH} new sequences. Adam, the rate a
fifth in the last 30 % of the updates, gradients clipped at a norm of 1, the whole gradient. Each
form has the rate that was best for it among {", ".join(map(str, FULL.rates))} on
{FULL.swept_seeds} other seeds. It holds if peepholes learn it with more of {FULL.seeds} seeds: the
interval of the difference is above 0 and Fisher's p is below {SIGNIFICANT}, two-sided. Beside it
{FULL.free_cells} cells with a trained readout at the same rates.

Doubled interval: two input spikes at t1 and t2, 30 to 60 steps apart in {FULL.steps} steps, a third
to be made at t1 + 2 (t2 - t1). {INTERVAL_CELLS} cells, {FULL.interval_updates:,} updates of
{FULL.interval_batch} sequences, Adam, the rate halved once; each form at its best of
{", ".join(map(str, FULL.interval_rates))} on
{FULL.interval_swept} other seeds. A test spike is exact if the highest output after the second
input spike is at the right step. The public reproduction
reports 99.8 % exact with peepholes on its best seed and 90.0 % without. Both forms of a seed begin
alike but for peepholes. Fifty seeds were planned and first cut to thirty for want of time (+12.0
points, p = 0.15); the other twenty were run later.

Before these sizes were settled on, a count by the clock alone (silence for 8 or 14 steps, no
events) was tried: no form learnt it. Counting events was tried with some other seeds, at rates of
0.03 to 0.3, for five and for ten events. Peepholes learnt it with about half of them where the
output gate's bias began at 0, and with 12 of 12 at {SHUT:g}; without peepholes none ever did.""",
    scaled="",
    steps=2
    * (
        len(FULL.rates) * FULL.swept_seeds
        + 2 * FULL.seeds
        + len(FULL.interval_rates) * FULL.interval_swept
        + FULL.interval_seeds
    ),
    run=run,
)
