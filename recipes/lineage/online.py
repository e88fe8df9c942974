"""Networks of one cell that learn step by step, as in Gers, Schraudolph & Schmidhuber 2002.

A network is theirs: one block of one cell, one input, one output, seventeen weights. The cell's
input and output are not squashed. Errors flow along the cell alone, in partial derivatives carried
forwards in time, and end at every gate and peephole; weights change at every step, with momentum.
Sixty-four seeds learn side by side, each at its own place in its own stream: all that a seed has is
a column of one array, so that a step of all of them is one loop that becomes SIMD.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recipes.lineage.tiny_kernels import tanh

__all__ = ["LANES", "PEEPHOLES", "WEIGHTS", "Lesson", "Outcome", "learn_online"]

Floats = NDArray[np.float32]
LANES = 64
TRAINED, TESTED = 100, 1000  # periods of a whole stream
LIMIT = np.float32(1e4)  # no weight and no state grows beyond it

# Rows of a network's weights: into input, forget and output gate from the input, the cell's output,
# a constant 1 and the cell; into the cell from the first three; into the output from cell and 1.
WI, WF, WO, WZ, WY, WEIGHTS = 0, 4, 8, 12, 15, 17
PEEPHOLES = (WI + 3, WF + 3, WO + 3)
# Further rows of the array, all of LANES: speeds of the weights; derivatives of the state by them.
SPEED, BY_I, BY_F, BY_Z = 17, 34, 38, 42
RATE = 45  # of each weight
STATE, OUTPUT, LEFT, LENGTH, PERIODS, MODE, STEPS, STREAMS, LONGEST, SQUARES = range(62, 72)
GOAL, ROWS = 72, 73
TOSSES = 16_384  # of each seed, used over and over
LEARNS, TESTS, SOLVED = 0.0, 1.0, 2.0  # modes


@dataclass(frozen=True)
class Lesson:
    """A task and how it is learnt.

    Attributes:
        targets: of one period, at every step; there is no input. If ``measured``, only how many
            they are counts: spikes come so many or one more steps apart, and at each spike, and
            only there, the network says which (0 or 1).
        logistic: of the output, else it is linear.
        tolerance: an error as large ends the stream.
        momentum: of the weights' changes.
        rate: of learning.
        forget_bias: at first.
        steps: of training at most, fewer than 2^24.
    """

    targets: tuple[float, ...]
    measured: bool
    logistic: bool
    tolerance: float
    momentum: float
    rate: float
    forget_bias: float
    steps: int


@dataclass(frozen=True)
class Outcome:
    """What became of :data:`LANES` networks; arrays of one value each.

    Attributes:
        solved: a test of 1,000 periods without an error was passed.
        steps: of training until then, or all.
        streams: of training until then.
        longest: periods of the longest stream without an error in training.
        error: root mean square over the test that was passed, else 0.
        weights: ``(17, LANES)``.
    """

    solved: NDArray[np.bool_]
    steps: Floats
    streams: Floats
    longest: Floats
    error: Floats
    weights: Floats


def learn_online(lesson: Lesson, peepholes: bool, first_seed: int) -> Outcome:
    """Train the networks of seeds ``first_seed`` and on until each passes a test.

    Without peepholes their weights are and stay 0; else both forms of a seed begin alike.
    """
    array = np.zeros((ROWS, LANES), np.float32)  # C-contiguous: the loops index it flat
    learns = np.ones(WEIGHTS, np.float32)
    if not peepholes:
        learns[list(PEEPHOLES)] = 0
    tosses = np.empty((TOSSES, LANES), np.float32)
    for lane in range(LANES):
        rng = np.random.default_rng(first_seed + lane)
        array[:WEIGHTS, lane] = rng.uniform(-0.1, 0.1, WEIGHTS) * learns
        tosses[:, lane] = rng.integers(2, size=TOSSES) * float(lesson.measured)
    for gate, bias in ((WI, 0.0), (WF, lesson.forget_bias), (WO, 2.0)):
        array[gate + 2] = bias
    array[LEFT] = array[LENGTH] = len(lesson.targets)
    array[RATE : RATE + WEIGHTS] = lesson.rate * learns[:, None]
    # Indexed by how many steps are left.
    targets = np.array([*reversed(lesson.targets), 0.0], np.float32)
    _learn(
        array.reshape(-1), tosses, targets, np.float32(lesson.measured),
        np.float32(lesson.logistic), np.float32(lesson.tolerance), np.float32(lesson.momentum),
        lesson.steps,
    )  # fmt: skip
    solved = array[MODE] == SOLVED
    asked = TESTED * (1 if lesson.measured else len(lesson.targets))
    return Outcome(
        solved, array[STEPS], array[STREAMS], array[LONGEST],
        np.where(solved, np.sqrt(array[SQUARES] / asked), 0).astype(np.float32),
        array[:WEIGHTS],
    )  # fmt: skip


@njit(nogil=True, fastmath=True, error_model="numpy", cache=True)
def _learn(  # type: ignore[no-untyped-def]
    a, tosses, targets, measured, logistic, tolerance, momentum, steps
):
    period = np.float32(len(targets) - 1)
    done = False
    look = max(1, min(1000, steps))
    for at in range(20 * steps):  # tests take steps too, but few
        if at % look == 0:
            done = True
            for n in range(LANES):
                done &= a[MODE * LANES + n] == SOLVED or a[STEPS * LANES + n] >= steps
        if done:
            break
        for n in range(LANES):  # apart from the rest: a look-up keeps a loop from becoming SIMD
            a[GOAL * LANES + n] = targets[int(a[LEFT * LANES + n]) - 1]
        drawn = tosses[at % TOSSES]
        _step(a, drawn, period, measured, logistic, tolerance, momentum)


@njit(nogil=True, fastmath=True, error_model="numpy", cache=True, inline="always")
def _bounded(x):  # type: ignore[no-untyped-def]
    x = LIMIT if x > LIMIT else x
    return -LIMIT if x < -LIMIT else x


@njit(nogil=True, fastmath=True, error_model="numpy", cache=True, inline="always")
def _logistic(x):  # type: ignore[no-untyped-def]
    return np.float32(0.5) + np.float32(0.5) * tanh(np.float32(0.5) * x)


@njit(nogil=True, fastmath=True, error_model="numpy", cache=True, inline="always")
def _if(condition, then, otherwise):  # type: ignore[no-untyped-def]
    return then if condition else otherwise


@njit(nogil=True, fastmath=True, error_model="numpy", cache=True)
def _step(a, tosses, period, measured, logistic, tolerance, momentum):  # type: ignore[no-untyped-def]
    """One step of every network; ``a`` is the array, flat; ``measured``, ``logistic`` are 0 or 1.

    Without branches, and with every value read before it is chosen or not, lest it be no SIMD.
    """
    zero, one, trained, tested = (
        np.float32(0),
        np.float32(1),
        np.float32(TRAINED),
        np.float32(TESTED),
    )
    for n in range(LANES):
        mode, left, length = a[MODE * LANES + n], a[LEFT * LANES + n] - one, a[LENGTH * LANES + n]
        at_end = _if(left == zero, one, zero)
        learning = _if(mode == zero, one, zero)
        x = measured * at_end
        m, before = a[OUTPUT * LANES + n], a[STATE * LANES + n]
        # Forwards
        i = _logistic(
            a[WI * LANES + n] * x + a[(WI + 1) * LANES + n] * m + a[(WI + 2) * LANES + n]
            + a[(WI + 3) * LANES + n] * before
        )  # fmt: skip
        f = _logistic(
            a[WF * LANES + n] * x + a[(WF + 1) * LANES + n] * m + a[(WF + 2) * LANES + n]
            + a[(WF + 3) * LANES + n] * before
        )  # fmt: skip
        z = (
            a[WZ * LANES + n] * x + a[(WZ + 1) * LANES + n] * m + a[(WZ + 2) * LANES + n]
        )  # fmt: skip
        s = _bounded(f * before + i * z)
        o = _logistic(
            a[WO * LANES + n] * x + a[(WO + 1) * LANES + n] * m + a[(WO + 2) * LANES + n]
            + a[(WO + 3) * LANES + n] * s
        )  # fmt: skip
        output = o * s
        shown = a[WY * LANES + n]
        net = shown * output + a[(WY + 1) * LANES + n]
        y = logistic * _logistic(net) + (one - logistic) * net
        # The error, where one is asked for
        asked = one - measured * (one - at_end)
        goal = measured * (length - period) + (one - measured) * a[GOAL * LANES + n]
        error = asked * (goal - y)
        e = error * (logistic * y * (one - y) + one - logistic)
        wrong = _if(abs(error) >= tolerance, one, zero)
        # The state's derivatives
        at_i, at_f = z * i * (one - i), before * f * (one - f)
        i_x = f * a[BY_I * LANES + n] + at_i * x
        i_m = f * a[(BY_I + 1) * LANES + n] + at_i * m
        i_1 = f * a[(BY_I + 2) * LANES + n] + at_i
        i_s = f * a[(BY_I + 3) * LANES + n] + at_i * before
        f_x = f * a[BY_F * LANES + n] + at_f * x
        f_m = f * a[(BY_F + 1) * LANES + n] + at_f * m
        f_1 = f * a[(BY_F + 2) * LANES + n] + at_f
        f_s = f * a[(BY_F + 3) * LANES + n] + at_f * before
        z_x = f * a[BY_Z * LANES + n] + i * x
        z_m = f * a[(BY_Z + 1) * LANES + n] + i * m
        z_1 = f * a[(BY_Z + 2) * LANES + n] + i
        # The weights' changes
        at_s, at_o = e * shown * o, e * shown * s * o * (one - o)
        _move(a, 0, n, learning, momentum, at_s * i_x)
        _move(a, 1, n, learning, momentum, at_s * i_m)
        _move(a, 2, n, learning, momentum, at_s * i_1)
        _move(a, 3, n, learning, momentum, at_s * i_s)
        _move(a, 4, n, learning, momentum, at_s * f_x)
        _move(a, 5, n, learning, momentum, at_s * f_m)
        _move(a, 6, n, learning, momentum, at_s * f_1)
        _move(a, 7, n, learning, momentum, at_s * f_s)
        _move(a, 8, n, learning, momentum, at_o * x)
        _move(a, 9, n, learning, momentum, at_o * m)
        _move(a, 10, n, learning, momentum, at_o)
        _move(a, 11, n, learning, momentum, at_o * s)
        _move(a, 12, n, learning, momentum, at_s * z_x)
        _move(a, 13, n, learning, momentum, at_s * z_m)
        _move(a, 14, n, learning, momentum, at_s * z_1)
        _move(a, 15, n, learning, momentum, e * output)
        _move(a, 16, n, learning, momentum, e)
        # Where in its stream the network is
        periods = a[PERIODS * LANES + n] + at_end * (one - wrong)
        whole = _if(periods >= learning * trained + (one - learning) * tested, one, zero)
        over = _if(wrong + whole > zero, one, zero)
        go_on = one - over
        longest, now = a[LONGEST * LANES + n], learning * periods
        squares = a[SQUARES * LANES + n] + (one - learning) * error * error
        steps, streams = a[STEPS * LANES + n], a[STREAMS * LANES + n]
        solved = _if(mode == SOLVED, one, zero)
        # A whole stream leads from learning to the test and from there to the end.
        after = solved * mode + (one - solved) * whole * (mode + one)
        drawn = period + tosses[n]
        anew = _if(at_end + over > zero, one, zero)
        a[STEPS * LANES + n], a[STREAMS * LANES + n] = steps + learning, streams + learning * over
        a[LONGEST * LANES + n] = _if(now > longest, now, longest)
        a[SQUARES * LANES + n] = _if(
            solved > zero, a[SQUARES * LANES + n], (one - over * (one - whole)) * squares
        )
        a[MODE * LANES + n] = over * after + go_on * mode
        a[PERIODS * LANES + n] = go_on * periods
        a[LEFT * LANES + n] = anew * drawn + (one - anew) * left
        a[LENGTH * LANES + n] = anew * drawn + (one - anew) * length
        a[STATE * LANES + n], a[OUTPUT * LANES + n] = go_on * s, go_on * output
        a[BY_I * LANES + n], a[(BY_I + 1) * LANES + n] = go_on * i_x, go_on * i_m
        a[(BY_I + 2) * LANES + n], a[(BY_I + 3) * LANES + n] = go_on * i_1, go_on * i_s
        a[BY_F * LANES + n], a[(BY_F + 1) * LANES + n] = go_on * f_x, go_on * f_m
        a[(BY_F + 2) * LANES + n], a[(BY_F + 3) * LANES + n] = go_on * f_1, go_on * f_s
        a[BY_Z * LANES + n], a[(BY_Z + 1) * LANES + n] = go_on * z_x, go_on * z_m
        a[(BY_Z + 2) * LANES + n] = go_on * z_1


@njit(nogil=True, fastmath=True, error_model="numpy", cache=True, inline="always")
def _move(a, k, n, learning, momentum, down):  # type: ignore[no-untyped-def]
    """Change weight ``k`` of network ``n`` with the error's derivative ``down``, if it learns."""
    speed = a[(SPEED + k) * LANES + n]
    faster = momentum * speed + a[(RATE + k) * LANES + n] * down
    a[(SPEED + k) * LANES + n] = learning * faster + (np.float32(1) - learning) * speed
    a[k * LANES + n] = _bounded(a[k * LANES + n] + learning * faster)
