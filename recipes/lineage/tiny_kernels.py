"""Loops of :mod:`recipes.lineage.tiny` over plain float32 arrays; letters as there."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["backward", "forward", "tanh"]

LARGEST = np.float32(7.90531110763549805)  # tanh is 1 beyond it in float32
# fastmath lets sums be taken in another order, as SIMD needs
_fast = njit(nogil=True, fastmath=True, error_model="numpy", cache=True)
_inline = njit(nogil=True, fastmath=True, error_model="numpy", cache=True, inline="always")


@_inline
def tanh(x):  # type: ignore[no-untyped-def]
    """A quotient of polynomials, within 3e-7; unlike math.tanh it becomes SIMD."""
    x = min(max(x, -LARGEST), LARGEST)
    s = x * x
    p = np.float32(-2.76076847742355e-16)
    p = p * s + np.float32(2.00018790482477e-13)
    p = p * s + np.float32(-8.60467152213735e-11)
    p = p * s + np.float32(5.12229709037114e-08)
    p = p * s + np.float32(1.48572235717979e-05)
    p = p * s + np.float32(6.37261928875436e-04)
    p = p * s + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06)
    q = q * s + np.float32(1.18534705686654e-04)
    q = q * s + np.float32(2.26843463243900e-03)
    q = q * s + np.float32(4.89352518554385e-03)
    return x * p / q


@_fast
def _squash(values):  # type: ignore[no-untyped-def]
    """tanh of ``values (N,)``, in place."""
    for n in range(len(values)):
        values[n] = tanh(values[n])


@_fast
def _gate(values):  # type: ignore[no-untyped-def]
    """The logistic function of ``values (N,)``, in place."""
    half = np.float32(0.5)
    for n in range(len(values)):
        values[n] = half + half * tanh(half * values[n])


@_fast
def _busy(seen, columns):  # type: ignore[no-untyped-def]
    """Fill ``columns`` with the first of each four rows of ``seen (C, B)`` that are not all 0.

    Returns how many they are: one-hot inputs of a hundred symbols have few.
    """
    C, B = seen.shape
    count = 0
    for c in range(0, C, 4):
        total = np.float32(0)
        for k in range(c, c + 4):
            for b in range(B):
                total += abs(seen[k, b])
        if total > 0:
            columns[count] = c
            count += 1
    return count


@_fast
def _affine(weight, seen, columns, net):  # type: ignore[no-untyped-def]
    """``net (R, B)`` of ``weight (R, C)`` and ``seen (C, B)``, four columns at a time."""
    B = seen.shape[1]
    for r in range(len(weight)):
        row = net[r]
        for b in range(B):
            row[b] = 0
        for c in columns:
            w0, w1, w2, w3 = weight[r, c], weight[r, c + 1], weight[r, c + 2], weight[r, c + 3]
            u0, u1, u2, u3 = seen[c], seen[c + 1], seen[c + 2], seen[c + 3]
            for b in range(B):
                row[b] += w0 * u0[b] + w1 * u1[b] + w2 * u2[b] + w3 * u3[b]


@_fast
def _add_scaled(scale, rows, to):  # type: ignore[no-untyped-def]
    """Add ``scale (H,)`` times ``rows (H, B)`` to ``to (H, B)``."""
    for k in range(len(scale)):
        w, row, target = scale[k], rows[k], to[k]
        for b in range(len(row)):
            target[b] += w * row[b]


@_fast
def _write(acts, before, after, H):  # type: ignore[no-untyped-def]
    """The new cell states: what is kept and what is written."""
    for k in range(H):
        i, f, z = acts[k], acts[H + k], acts[2 * H + k]
        old, new = before[k], after[k]
        for b in range(len(old)):
            new[b] = f[b] * old[b] + i[b] * z[b]


@_fast
def _product(one, other, to):  # type: ignore[no-untyped-def]
    for k in range(one.shape[0]):
        a, b, c = one[k], other[k], to[k]
        for n in range(len(a)):
            c[n] = a[n] * b[n]


@_fast
def forward(  # type: ignore[no-untyped-def]
    weight, peephole, readout, held, inputs, squash, logistic, seen, acts, cells, shown, outputs
):
    """Fill ``seen`` (the rows of outputs), ``acts``, ``cells``, ``shown`` and ``outputs``."""
    T = len(acts)
    H, outs = peephole.shape[1], readout.shape[0]
    columns = np.empty(seen.shape[1] // 4, np.int64)
    for t in range(T):
        net = acts[t]
        count = _busy(seen[t], columns)
        for g in range(4):
            rows = net[g * H : (g + 1) * H]
            if held[g] >= 0:
                rows[:] = held[g]
                continue
            _affine(weight[g * H : (g + 1) * H], seen[t], columns[:count], rows)
            if g < 2:
                _add_scaled(peephole[g], cells[t], rows)
                _gate(rows.reshape(-1))
            if g == 2:
                _squash(rows.reshape(-1))
        _write(net, cells[t], cells[t + 1], H)
        if held[3] < 0:
            _add_scaled(peephole[2], cells[t + 1], net[3 * H :])
            _gate(net[3 * H :].reshape(-1))
        shown[t] = cells[t + 1]
        if squash:
            _squash(shown[t].reshape(-1))
        _product(net[3 * H :], shown[t], seen[t + 1, inputs : inputs + H])
        for o in range(outs):
            outputs[t, o] = readout[o, H]
            _add_one(readout[o], seen[t + 1, inputs : inputs + H], outputs[t, o])
        if logistic:
            _gate(outputs[t].reshape(-1))


@_fast
def _add_one(scale, rows, to):  # type: ignore[no-untyped-def]
    """Add the sum of ``scale (>= H,)`` times ``rows (H, B)`` to ``to (B,)``."""
    for k in range(rows.shape[0]):
        w, row = scale[k], rows[k]
        for b in range(len(row)):
            to[b] += w * row[b]


@_fast
def _outer(d, seen, columns, grad):  # type: ignore[no-untyped-def]
    """Add the products of ``d (R, B)`` and ``seen (C, B)``, summed over B, to ``grad (R, C)``."""
    B = d.shape[1]
    for r in range(len(grad)):
        row = d[r]
        for c in columns:
            u0, u1, u2, u3 = seen[c], seen[c + 1], seen[c + 2], seen[c + 3]
            s0 = s1 = s2 = s3 = np.float32(0)
            for b in range(B):
                e = row[b]
                s0 += e * u0[b]
                s1 += e * u1[b]
                s2 += e * u2[b]
                s3 += e * u3[b]
            grad[r, c] += s0
            grad[r, c + 1] += s1
            grad[r, c + 2] += s2
            grad[r, c + 3] += s3


@_fast
def _inner(d, rows, grad):  # type: ignore[no-untyped-def]
    """Add the sums over B of ``d (H, B)`` times ``rows (H, B)`` to ``grad (H,)``."""
    for k in range(d.shape[0]):
        a, b = d[k], rows[k]
        total = np.float32(0)
        for n in range(len(a)):
            total += a[n] * b[n]
        grad[k] += total


@_fast
def _through_output(grad_m, o, shown, d_o, grad_c, squash):  # type: ignore[no-untyped-def]
    """Errors at the output gate, and what reaches the cell through it; all ``(N,)``."""
    one = np.float32(1)
    for n in range(len(grad_m)):
        d_o[n] = grad_m[n] * shown[n] * o[n] * (one - o[n])
    if squash:
        for n in range(len(grad_m)):
            grad_c[n] += grad_m[n] * o[n] * (one - shown[n] * shown[n])
    else:
        for n in range(len(grad_m)):
            grad_c[n] += grad_m[n] * o[n]


@_fast
def _through_cell(grad_c, i, f, z, before, d):  # type: ignore[no-untyped-def]
    """Errors ``d (3, N)`` at input gate, forget gate and input, from those at the cell ``(N,)``."""
    one = np.float32(1)
    d_i, d_f, d_z = d[0], d[1], d[2]
    for n in range(len(grad_c)):
        d_i[n] = grad_c[n] * z[n] * i[n] * (one - i[n])
    for n in range(len(grad_c)):
        d_f[n] = grad_c[n] * before[n] * f[n] * (one - f[n])
    for n in range(len(grad_c)):
        d_z[n] = grad_c[n] * i[n] * (one - z[n] * z[n])
    for n in range(len(grad_c)):
        grad_c[n] *= f[n]


@_fast
def _back(weight, d, grad_m):  # type: ignore[no-untyped-def]
    """Add what flows back through ``weight (H, H)`` from a gate's errors ``d (H, B)``."""
    for k in range(len(grad_m)):
        for r in range(len(d)):
            w, row, to = weight[r, k], d[r], grad_m[k]
            for b in range(len(to)):
                to[b] += w * row[b]


@_fast
def backward(  # type: ignore[no-untyped-def]
    weight, peephole, readout, held, inputs, squash, whole, seen, acts, cells, shown, d_out,
    grad_weight, grad_peephole, grad_readout,
):  # fmt: skip
    """Add to the gradients, given the errors ``d_out (T, O, B)`` at the outputs' net inputs."""
    T, _, B = acts.shape
    H, outs = peephole.shape[1], readout.shape[0]
    d = np.zeros((4 * H, B), np.float32)
    columns = np.empty(seen.shape[1] // 4, np.int64)
    grad_m, grad_c = np.zeros((H, B), np.float32), np.zeros((H, B), np.float32)
    for t in range(T - 1, -1, -1):
        m = seen[t + 1, inputs : inputs + H]
        for o in range(outs):
            for k in range(H):
                _add_scaled(readout[o, k : k + 1], d_out[t, o : o + 1], grad_m[k : k + 1])
                _inner(d_out[t, o : o + 1], m[k : k + 1], grad_readout[o, k : k + 1])
            grad_readout[o, H] += d_out[t, o].sum()
        a = acts[t]
        _through_output(
            grad_m.reshape(-1), a[3 * H :].reshape(-1), shown[t].reshape(-1),
            d[3 * H :].reshape(-1), grad_c.reshape(-1), squash,
        )  # fmt: skip
        if whole:
            _add_scaled(peephole[2], d[3 * H :], grad_c)
        _through_cell(
            grad_c.reshape(-1), a[:H].reshape(-1), a[H : 2 * H].reshape(-1),
            a[2 * H : 3 * H].reshape(-1), cells[t].reshape(-1), d[: 3 * H].reshape(3, -1),
        )  # fmt: skip
        count = _busy(seen[t], columns)
        grad_m[:] = 0
        for g in range(4):
            if held[g] < 0:
                rows = slice(g * H, (g + 1) * H)
                _outer(d[rows], seen[t], columns[:count], grad_weight[rows])
                if whole:
                    _back(weight[rows, inputs : inputs + H], d[rows], grad_m)
        _inner(d[:H], cells[t], grad_peephole[0])
        _inner(d[H : 2 * H], cells[t], grad_peephole[1])
        _inner(d[3 * H :], cells[t + 1], grad_peephole[2])
        if whole:
            _add_scaled(peephole[0], d[:H], grad_c)
            _add_scaled(peephole[1], d[H : 2 * H], grad_c)
