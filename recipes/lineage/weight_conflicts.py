"""What the two gates of 1997 are for: one weight cannot both store and ignore, show and hide."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from asr.nn.kernels import reference
from asr.nn.kernels.operator import Arguments
from asr.nn.recurrent import RecurrentLayer, RecurrentStack
from recipes.lineage.experiment import Experiment, Result, Settings
from recipes.lineage.statistics import compare, share

__all__ = ["EXPERIMENT", "store_and_recall"]

H = 2  # cells
STEPS = 25
STORE_WITHIN = 10  # the mark to store comes among the first steps
SEEDS = 8
UPDATES, REDUCED_UPDATES = 2500, 1500
TEST_EVERY = 100
BATCH, TEST_SEQUENCES = 32, 512
RATE = 2e-2
TOLERANCE, SHARE = 0.3, 0.98  # every step within it, in this share of the test sequences
OPEN = 100.0  # σ(100) is 1 in float32
FROZEN = {"both gates free": "", "input gate open": "i", "output gate open": "o", "both open": "io"}
PICTURED_SEED = 0


def store_and_recall(generator: torch.Generator, sequences: int) -> tuple[Tensor, Tensor]:
    """Store the value at a mark, ignore all others, show it at the end, and nothing before.

    Inputs ``(T, B, 3)``: a value of -1 or 1 at every step, the mark to store at one step, the mark
    to recall at the last. Targets ``(T, B, 1)``: the stored value at the last step, else 0.
    """
    values = 2.0 * torch.randint(2, (STEPS, sequences), generator=generator) - 1
    at = torch.randint(STORE_WITHIN, (sequences,), generator=generator)
    columns = torch.arange(sequences)
    store, recall = torch.zeros(STEPS, sequences), torch.zeros(STEPS, sequences)
    store[at, columns] = 1
    recall[-1] = 1
    target = torch.zeros(STEPS, sequences, 1)
    target[-1, :, 0] = values[at, columns]
    return torch.stack([values, store, recall], dim=2), target


class Network(nn.Module):
    """Cells of 1997 with some gates held open, and a linear readout of every step."""

    def __init__(self, frozen: str) -> None:
        super().__init__()
        self.recurrent = RecurrentStack(3, H, cell="lstm-1997")
        self.readout = nn.Linear(H, 1)
        layer = self.layer
        mask = torch.ones(1, len(layer.cell.gates) * H)  # 0 for rows that are not trained
        for gate in frozen:
            row = layer.cell.gates.index(gate) * H
            mask[:, row : row + H] = 0
        with torch.no_grad():
            layer.weight_ih.mul_(mask.unsqueeze(2))
            layer.weight_hh.mul_(mask.unsqueeze(2))
            layer.bias.mul_(mask).add_(OPEN * (1 - mask))
        for weight in (layer.weight_ih, layer.weight_hh):
            weight.register_hook(lambda grad: grad * mask.unsqueeze(2))
        layer.bias.register_hook(lambda grad: grad * mask)

    @property
    def layer(self) -> RecurrentLayer:
        layer = self.recurrent.layers[0]
        assert isinstance(layer, RecurrentLayer)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x (T, B, 3)`` to ``(T, B, 1)``."""
        return self.readout(self.recurrent(x)[0])


def train(frozen: str, seed: int, updates: int) -> tuple[Network, float]:
    """A network after training, and the share of test sequences that it does right."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    test_x, test_y = store_and_recall(torch.Generator().manual_seed(10_000 + seed), TEST_SEQUENCES)
    network = Network(frozen)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    right = 0.0
    for update in range(1, updates + 1):
        x, y = store_and_recall(generator, BATCH)
        error = (network(x) - y).square()
        loss = error[:-1].mean() + error[-1].mean()  # the one step of recall weighs like the rest
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if update % TEST_EVERY == 0:
            with torch.no_grad():
                off = (network(test_x) - test_y).abs().amax((0, 2))
            right = float((off < TOLERANCE).float().mean())
            if right >= SHARE:
                break
    return network, right


def run(settings: Settings) -> Result:
    """Every way to hold gates open, over all seeds."""
    seeds = range(2 if settings.reduced else SEEDS)
    updates = REDUCED_UPDATES if settings.reduced else UPDATES
    right: dict[str, list[float]] = {}
    pictured = None
    for name, frozen in FROZEN.items():
        for seed in seeds:
            network, share = train(frozen, seed, updates)
            right.setdefault(name, []).append(share)
            if name == "both gates free" and seed == PICTURED_SEED:
                pictured = network
            settings.advance(f"{name}, seed {seed}")
    assert pictured is not None
    return judge(right, pictured)


def judge(right: dict[str, list[float]], pictured: Network) -> Result:
    """Free gates have to succeed with most seeds, and every frozen form with fewer."""
    won = {name: sum(share >= SHARE for share in shares) for name, shares in right.items()}
    seeds = len(next(iter(right.values())))
    free = won["both gates free"]
    holds = free > seeds / 2 and all(count < free for n, count in won.items() if n in list(won)[1:])
    trace = trace_of(pictured)
    numbers = {"share of sequences right": right, "picture": trace}
    return Result(holds, in_words(won, seeds), numbers, draw(right, trace))


def in_words(won: dict[str, int], seeds: int) -> str:
    """The verdict on how many of ``seeds`` learnt the task in each form; the first is free."""
    (free, most), *others = won.items()
    parts = [
        f"{name} {share(count, seeds)}, free gates {compare(most, seeds, count, seeds)}"
        for name, count in others
    ]
    return f"Seeds that learnt the task: {'; '.join([f'{free} {share(most, seeds)}', *parts])}."


def trace_of(network: Network) -> dict[str, list[list[float]]]:
    """Inputs, gates, cell states and output along one test sequence."""
    x, y = store_and_recall(torch.Generator().manual_seed(1), 1)
    layer = network.layer
    zeros = torch.zeros(1, 1, H)
    with torch.no_grad():
        gates = F.linear(x, layer.weight_ih[0], layer.bias[0]).unsqueeze(2)
        lengths = torch.tensor([STEPS])
        states = reference.forward(
            Arguments("lstm-1997", gates, layer.weight_hh, None, None, zeros, zeros, lengths)
        )
        output = network(x)
    acts = dict(zip(layer.cell.gates, states.act[:, 0, 0].chunk(3, dim=1), strict=True))
    return {
        "inputs": x[:, 0].tolist(),
        "target": y[:, 0].tolist(),
        "output": output[:, 0].tolist(),
        "input gate": acts["i"].tolist(),
        "output gate": acts["o"].tolist(),
        "cell state": states.cells[:, 0, 0].tolist(),
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
            axes.set_title(f"both gates free, seed {PICTURED_SEED}, one test sequence")
        if row == 3:
            axes.set_xlabel("step")
    axes = figure.add_subplot(grid[:, 1])
    for number, shares in enumerate(right.values()):
        offsets = [number + 0.04 * (n - len(shares) / 2) for n in range(len(shares))]
        axes.plot(offsets, shares, "o", color="C2" if number == 0 else "C3", alpha=0.6)
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
    "It holds if free gates succeed with more than half of the seeds, and every frozen form with "
    "fewer than they do. Sizes and rate were set beforehand and not tuned.",
    scaled="",
    steps=len(FROZEN) * SEEDS,
    run=run,
)
