"""The cells in Triton's language, line for line as in :mod:`asr.nn.cells`.

Without Triton this module and :mod:`asr.nn.kernels.triton_kernels` can be imported, and nothing in
them runs.
"""

from __future__ import annotations

import os

try:
    import triton
    from triton import language as tl

    INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # what `triton.jit` goes by
    jit = triton.jit
except ModuleNotFoundError:
    tl, INTERPRETED = None, False

    def jit(function=None, **_):
        return function or jit


__all__ = ["INTERPRETED", "back", "jit", "step", "tl"]


# Squashing. The exponent is never positive, so nothing overflows; both are exact to 1e-7.


@jit
def _sigmoid(x):
    e = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, e) / (1.0 + e)


@jit
def _tanh(x):
    e = tl.exp(-2.0 * tl.abs(x))
    s = (1.0 - e) / (1.0 + e)
    return tl.where(x >= 0, s, -s)


@jit
def step(nets, c, w, CELL: tl.constexpr):
    """The cell's output, its state and its gates' activations."""
    if CELL == "rnn":
        m = _tanh(nets[0])
        acts = (m,)
    elif CELL == "lstm-1997":
        i, z, o = _sigmoid(nets[0]), _tanh(nets[1]), _sigmoid(nets[2])
        c = c + i * z
        m = o * _tanh(c)
        acts = (i, z, o)
    elif CELL == "lstm":
        i, f = _sigmoid(nets[0]), _sigmoid(nets[1])
        z, o = _tanh(nets[2]), _sigmoid(nets[3])
        c = f * c + i * z
        m = o * _tanh(c)
        acts = (i, f, z, o)
    elif CELL == "peephole":
        i = _sigmoid(nets[0] + w[0] * c)
        f = _sigmoid(nets[1] + w[1] * c)
        z = _tanh(nets[2])
        c = f * c + i * z
        o = _sigmoid(nets[3] + w[2] * c)
        m = o * _tanh(c)
        acts = (i, f, z, o)
    elif CELL == "coupled":
        i = _sigmoid(nets[0] + w[0] * c)
        z = _tanh(nets[1])
        c = (1 - i) * c + i * z
        o = _sigmoid(nets[2] + w[1] * c)
        m = o * _tanh(c)
        acts = (i, z, o)
    return m, c, acts


@jit
def back(acts, before, c, grad_m, grad_c, w, CELL: tl.constexpr):
    """The errors at the net inputs, the error in the state before, the peepholes' gradients."""
    if CELL == "rnn":
        d = (grad_m * (1 - acts[0] * acts[0]),)
        grad_before = grad_c
        grads_w = ()
    elif CELL == "lstm-1997":
        i, z, o = acts[0], acts[1], acts[2]
        d_o, grad_c = _back_through_output(o, c, grad_m, grad_c)
        d = (grad_c * z * i * (1 - i), grad_c * i * (1 - z * z), d_o)
        grad_before = grad_c
        grads_w = ()
    elif CELL == "lstm":
        i, f, z, o = acts[0], acts[1], acts[2], acts[3]
        d_o, grad_c = _back_through_output(o, c, grad_m, grad_c)
        d_i, d_z = grad_c * z * i * (1 - i), grad_c * i * (1 - z * z)
        d_f = grad_c * before * f * (1 - f)
        d = (d_i, d_f, d_z, d_o)
        grad_before = grad_c * f
        grads_w = ()
    elif CELL == "peephole":
        i, f, z, o = acts[0], acts[1], acts[2], acts[3]
        d_o, grad_c = _back_through_output(o, c, grad_m, grad_c)
        grad_c += d_o * w[2]
        d_i, d_z = grad_c * z * i * (1 - i), grad_c * i * (1 - z * z)
        d_f = grad_c * before * f * (1 - f)
        d = (d_i, d_f, d_z, d_o)
        grad_before = grad_c * f + d_i * w[0] + d_f * w[1]
        grads_w = (d_i * before, d_f * before, d_o * c)
    elif CELL == "coupled":
        i, z, o = acts[0], acts[1], acts[2]
        d_o, grad_c = _back_through_output(o, c, grad_m, grad_c)
        grad_c += d_o * w[1]
        d_i, d_z = grad_c * (z - before) * i * (1 - i), grad_c * i * (1 - z * z)
        d = (d_i, d_z, d_o)
        grad_before = grad_c * (1 - i) + d_i * w[0]
        grads_w = (d_i * before, d_o * c)
    return d, grad_before, grads_w


@jit
def _back_through_output(o, c, grad_m, grad_c):
    s = _tanh(c)
    return grad_m * s * o * (1 - o), grad_c + grad_m * o * (1 - s * s)
