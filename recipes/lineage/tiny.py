"""Small recurrent networks by the hundred: passes and updates as loops compiled once.

A network of a few cells does so little at a time step that torch spends nearly all of it on calls.
Here both passes of a batch are compiled loops over plain arrays. The equations are those of
:mod:`asr.nn.cells`, and tests hold values and gradients against the toolkit's own layer. Seeds run
one after the other; a training of a few cells takes about a second.

Letters: ``T`` steps, ``B`` sequences, ``I`` inputs, ``H`` cells, ``O`` outputs; ``C`` columns of
what the gates see: the inputs, the H outputs of the step before, a constant 1, and as many zeros as
make C a multiple of four.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.lineage.tiny_kernels import backward, forward

__all__ = ["GATES", "SEERS", "Adam", "Floats", "Net", "Trace", "gradient", "run", "step"]

Floats = NDArray[np.float32]
GATES = "ifzo"  # the rows of the weights, H each
SEERS = "ifo"  # gates that may have a peephole
FREE = -1.0


class Net:
    """One layer of LSTM cells and a readout of every step.

    All weights lie in ``theta``; ``learns`` has 0 for those that stay as they are: those of a gate
    held open, peepholes that are not there.

    Args:
        cell: ``"lstm"``, ``"peephole"``, ``"lstm-1997"`` (the forget gate is held open) or
            ``"rnn"`` (input and output gate are held open, the forget gate shut, and nothing
            is squashed after the input: what is left is h = tanh(net)).
        inputs: I.
        cells: H.
        outputs: O.
        squash: tanh of the cell state is shown, else the state itself (Gers et al. 2002).
        whole: errors flow back through recurrent weights and peepholes; else they stay in the
            cells, as they did until 2002.
        logistic: outputs, else linear ones.

    Attributes:
        held: for i, f, z and o the activation of a gate that is held, else -1.
        weight: ``(4 H, C)``, a view; gates in the same order.
        peephole: ``(3, H)``, into input, forget and output gate; a view.
        readout: ``(O, H + 1)``, the bias last; a view.
    """

    def __init__(
        self,
        cell: str,
        inputs: int,
        cells: int,
        outputs: int,
        *,
        squash: bool = True,
        whole: bool = True,
        logistic: bool = False,
    ) -> None:
        self.inputs, self.cells = inputs, cells
        self.squash, self.whole, self.logistic = squash, whole, logistic
        self._shapes = (
            (4 * cells, -(-(inputs + cells + 1) // 4) * 4),
            (3, cells),
            (outputs, cells + 1),
        )
        self.theta = np.zeros(sum(rows * columns for rows, columns in self._shapes), np.float32)
        self.learns = np.ones_like(self.theta)
        self.weight, self.peephole, self.readout = self.views(self.theta)
        learnt, seen, _ = self.views(self.learns)
        learnt[:, inputs + cells + 1 :] = 0
        seen[:] = float(cell == "peephole")
        self.held = np.full(4, FREE, np.float32)
        if cell == "lstm-1997":
            self.hold("f", 1)
        if cell == "rnn":
            self.squash = False
            self.hold("i", 1), self.hold("f", 0), self.hold("o", 1)

    def views(self, flat: Floats) -> tuple[Floats, Floats, Floats]:
        """``flat``, of all weights, as weights, peepholes and readout."""
        parts, begin = [], 0
        for rows, columns in self._shapes:
            parts.append(flat[begin : begin + rows * columns].reshape(rows, columns))
            begin += rows * columns
        weight, peephole, readout = parts
        return weight, peephole, readout

    def rows(self, gate: str) -> slice:
        """The rows of a gate's weights."""
        place = GATES.index(gate) * self.cells
        return slice(place, place + self.cells)

    def bias(self, gate: str) -> Floats:
        """``(H,)``, a view."""
        return self.weight[self.rows(gate), self.inputs + self.cells]

    def hold(self, gate: str, activation: float) -> None:
        """Let ``gate`` be always so; none of its weights learns."""
        learnt, seen, _ = self.views(self.learns)
        self.held[GATES.index(gate)] = activation
        self.weight[self.rows(gate)] = learnt[self.rows(gate)] = 0
        self.peephole[SEERS.index(gate)] = seen[SEERS.index(gate)] = 0

    def draw(self, seed: int) -> Net:
        """Draw what learns as the toolkit's layer and ``torch.nn.Linear`` do; forget bias 1.

        Peepholes begin with 0, so networks with and without them begin alike.
        """
        rng = np.random.default_rng(seed)
        bound = self.cells**-0.5
        learnt, _, _ = self.views(self.learns)
        seen = self.inputs + self.cells
        drawn = np.zeros_like(self.weight)
        drawn[:, : seen + 1] = rng.uniform(-bound, bound, (4 * self.cells, seen + 1))
        drawn[self.rows("f"), seen] = 1
        self.weight[learnt > 0] = drawn[learnt > 0]
        self.readout[:] = rng.uniform(-bound, bound, self.readout.shape)
        return self


class Trace(NamedTuple):
    """What a forward pass left behind.

    Attributes:
        outputs: ``(T, O, B)``.
        acts: of the gates, ``(T, 4 H, B)``.
        cells: states before the first and after each step, ``(T + 1, H, B)``.
        seen: by the gates, ``(T + 1, C, B)``; the rows after the inputs are the outputs before.
        shown: what the output gates let out or hold back, ``(T, H, B)``.
        hidden: outputs of the last step, ``(H, B)``.
    """

    outputs: Floats
    acts: Floats
    cells: Floats
    seen: Floats
    shown: Floats
    hidden: Floats


def run(net: Net, x: Floats, state: tuple[Floats, Floats] | None = None) -> Trace:
    """The forward pass of ``x (T, I, B)``, from zero or from ``(h, c)``, each ``(H, B)``."""
    T, inputs, B = x.shape
    H, C = net.cells, net.weight.shape[1]
    seen = np.zeros((T + 1, C, B), np.float32)
    seen[:T, :inputs] = x
    seen[:, inputs + H] = 1
    cells = np.empty((T + 1, H, B), np.float32)
    cells[0] = 0
    if state is not None:
        seen[0, inputs : inputs + H], cells[0] = state
    acts, shown = np.empty((T, 4 * H, B), np.float32), np.empty((T, H, B), np.float32)
    outputs = np.empty((T, len(net.readout), B), np.float32)
    forward(
        net.weight, net.peephole, net.readout, net.held, inputs, net.squash, net.logistic,
        seen, acts, cells, shown, outputs,
    )  # fmt: skip
    return Trace(outputs, acts, cells, seen, shown, seen[-1, inputs : inputs + H])


def gradient(net: Net, trace: Trace, errors: Floats) -> Floats:
    """By all weights, where ``errors (T, O, B)`` is the derivative by the outputs."""
    if net.logistic:
        errors = errors * trace.outputs * (1 - trace.outputs)
    flat = np.zeros_like(net.theta)
    backward(
        net.weight, net.peephole, net.readout, net.held, net.inputs, net.squash, net.whole,
        trace.seen, trace.acts, trace.cells, trace.shown, np.ascontiguousarray(errors, np.float32),
        *net.views(flat),
    )  # fmt: skip
    flat *= net.learns
    return flat


@dataclass
class Adam:
    """Kingma & Ba 2015, with the gradient clipped to a norm of ``clip`` first."""

    net: Net
    clip: float = 1.0

    def __post_init__(self) -> None:
        self._mean, self._square = np.zeros_like(self.net.theta), np.zeros_like(self.net.theta)
        self._steps = 0

    def step(self, flat: Floats, rate: float) -> None:
        """Move the network's weights down ``flat``."""
        self._steps += 1
        norm = float(np.sqrt(flat @ flat))
        if norm > self.clip:
            flat = flat * np.float32(self.clip / norm)
        self._mean += np.float32(0.1) * (flat - self._mean)
        self._square += np.float32(0.001) * (flat * flat - self._square)
        first, second = 1 - 0.9**self._steps, 1 - 0.999**self._steps
        size = np.sqrt(self._square * np.float32(1 / second)) + np.float32(1e-8)
        self.net.theta -= np.float32(rate / first) * self._mean / size


def step(
    adam: Adam,
    x: Floats,
    targets: Floats,
    weights: Floats | float,
    rate: float,
    state: tuple[Floats, Floats] | None = None,
) -> Trace:
    """One update by the sum of ``weights`` times the squared errors ``(T, O, B)``."""
    trace = run(adam.net, x, state)
    errors = 2 * weights * (trace.outputs - targets)
    adam.step(gradient(adam.net, trace, errors), rate)
    return trace
