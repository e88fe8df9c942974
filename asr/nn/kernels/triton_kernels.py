"""What runs on the GPU: steps of a recurrence forward and backward, in Triton's language.

:mod:`asr.nn.kernels.triton` says how the work is divided and launches these. Every program has a
grid position: a slice of cells, a direction, a block of batch rows. The letters are those of
:mod:`asr.nn.cells` and :mod:`asr.nn.kernels.operator`; a tile is a tensor ``(ROWS, SLICE)``.

Without Triton the module can be imported, and nothing in it runs.
"""

from __future__ import annotations

import os

try:
    import triton
    from triton import language as tl

    INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # what `triton.jit` goes by
    jit = triton.jit
    launched = triton.jit(do_not_specialize=["T", "B", "start", "stop", "first_row"])
except ModuleNotFoundError:
    INTERPRETED = False

    def jit(function):
        return function

    launched = jit


__all__ = ["INTERPRETED", "backward_steps", "forward_steps"]


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


# The cells, line for line as in asr.nn.cells.


@jit
def _step(nets, c, w, CELL: tl.constexpr):
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
    else:
        tl.static_assert(CELL == "coupled")
        i = _sigmoid(nets[0] + w[0] * c)
        z = _tanh(nets[1])
        c = (1 - i) * c + i * z
        o = _sigmoid(nets[2] + w[1] * c)
        m = o * _tanh(c)
        acts = (i, z, o)
    return m, c, acts


@jit
def _back(acts, before, c, grad_m, grad_c, w, CELL: tl.constexpr):
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
    else:
        tl.static_assert(CELL == "coupled")
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


# Tuples of tiles, one a gate.


@jit
def _load(pointer, stride, COUNT: tl.constexpr, mask):
    tiles = ()
    for n in tl.static_range(COUNT):
        tiles = tiles + (tl.load(pointer + n * stride, mask=mask, other=0.0).to(tl.float32),)
    return tiles


@jit
def _store(pointer, stride, tiles, COUNT: tl.constexpr, mask):
    for n in tl.static_range(COUNT):
        tl.store(pointer + n * stride, tiles[n].to(pointer.dtype.element_ty), mask=mask)


@jit
def _add(left, right, COUNT: tl.constexpr):
    tiles = ()
    for n in tl.static_range(COUNT):
        tiles = tiles + (left[n] + right[n],)
    return tiles


# Matrix products. The inner dimension K is cut in chunks of PARTS * WIDTH, and of each chunk every
# warp multiplies its own WIDTH columns by the whole slice: the batch dimension of `tl.dot` goes
# over warps. A few rows by one slice is too little to share between warps in any other way, and so
# no operand is read by two of them. Their PARTS partial sums are added at the end.


@jit
def _inner(chunk, PARTS: tl.constexpr, WIDTH: tl.constexpr):
    """The columns of a chunk ``(PARTS, WIDTH)``."""
    part = tl.arange(0, PARTS)[:, None] + chunk * PARTS
    return part * WIDTH + tl.arange(0, WIDTH)[None, :]


@jit
def _weight(
    pointer,
    cell,
    K_STRIDE: tl.constexpr,
    CELL_STRIDE: tl.constexpr,
    chunk,
    H: tl.constexpr,
    K: tl.constexpr,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """One chunk of the weights of the slice, ``(PARTS, WIDTH, SLICE)``."""
    k = _inner(chunk, PARTS, WIDTH)[:, :, None]
    n = cell[None, None, :]
    return tl.load(pointer + k * K_STRIDE + n * CELL_STRIDE, mask=(k < K) & (n < H), other=0.0)


@jit
def _weights(
    pointer,
    cell,
    K_STRIDE: tl.constexpr,
    CELL_STRIDE: tl.constexpr,
    H: tl.constexpr,
    K: tl.constexpr,
    COUNT: tl.constexpr,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """All chunks for ``COUNT`` products whose matrices lie ``H * H`` apart."""
    tiles = ()
    for chunk in tl.static_range(CHUNKS):
        for n in tl.static_range(COUNT):
            tiles = tiles + (
                _weight(
                    pointer + n * H * H, cell, K_STRIDE, CELL_STRIDE, chunk, H, K, PARTS, WIDTH
                ),
            )
    return tiles


@jit
def _products(
    x,
    row,
    STRIDE: tl.constexpr,
    rows,
    weights,
    pointer,
    cell,
    K_STRIDE: tl.constexpr,
    CELL_STRIDE: tl.constexpr,
    H: tl.constexpr,
    K: tl.constexpr,
    COUNT: tl.constexpr,
    RESIDENT: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    SLICE: tl.constexpr,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """``COUNT`` tiles, each the rows of ``x``, K long, by one matrix of weights.

    ``x`` is read past L1, which does not see what other programs write.
    """
    sums = ()
    for _ in tl.static_range(COUNT):
        sums = sums + (tl.full((PARTS, ROWS, SLICE), 0.0, tl.float32),)
    b = row[None, :, None]
    for chunk in tl.static_range(CHUNKS):
        k = _inner(chunk, PARTS, WIDTH)[:, None, :]
        read = (k < K) & (b < rows)
        x_k = tl.load(x + b * STRIDE + k, mask=read, other=0.0, cache_modifier=".cg")
        more = ()
        for g in tl.static_range(COUNT):
            if RESIDENT:
                w = weights[chunk * COUNT + g]
            else:
                w = _weight(
                    pointer + g * H * H, cell, K_STRIDE, CELL_STRIDE, chunk, H, K, PARTS, WIDTH
                )
            more = more + (_multiply(x_k, w, sums[g], PRECISION),)
        sums = more
    tiles = ()
    for g in tl.static_range(COUNT):
        tiles = tiles + (tl.sum(sums[g], axis=0),)
    return tiles


@jit
def _multiply(x, w, accumulator, PRECISION: tl.constexpr):
    if PRECISION == "interpreter":  # which cannot multiply bfloat16; these products are exact
        return accumulator + tl.dot(x.to(tl.float32), w.to(tl.float32))
    else:
        return tl.dot(x, w, accumulator, input_precision=PRECISION)


# The barrier between steps, among the programs of one direction and one block of rows. They are all
# on the GPU at once, or this would wait for ever: the launch is cooperative. `debug_barrier` orders
# a program's own threads; release and acquire order the programs.


@jit
def _arrive(arrived):
    tl.debug_barrier()
    tl.atomic_add(arrived, 1, sem="release", scope="gpu")


@jit
def _wait(arrived, count):
    while tl.atomic_add(arrived, 0, sem="acquire", scope="gpu") < count:
        pass
    tl.debug_barrier()


@jit
def _nets(gates, T, s, stop, d, D, B, here, cell, ok, length, H: tl.constexpr, GATES: tl.constexpr):
    """What the input gives to the net inputs at step ``s``; zeros from ``stop`` on."""
    t = s + d * (T - 1 - 2 * s)
    pointer = gates + t.to(tl.int64) * B * D * GATES * H + here * GATES * H + cell[None, :]
    return _load(pointer, H, GATES, ok & (t < length)[:, None] & (s < stop))


@launched
def forward_steps(
    gates,
    weight,
    peephole,
    lengths,
    state,
    hidden,
    c_n,
    act,
    cells,
    arrived,
    T,
    B,
    start,
    stop,
    first_row,
    H: tl.constexpr,
    GATES: tl.constexpr,
    PEEPHOLES: tl.constexpr,
    CELL: tl.constexpr,
    KEEP: tl.constexpr,
    PERSISTENT: tl.constexpr,
    RESIDENT: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    SLICE: tl.constexpr,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """Steps ``start`` to ``stop`` of the T, from and to ``state (2, D, B, H)`` and ``c_n``.

    Step s reads the hidden vectors of all cells from half ``s % 2`` of ``state`` and writes its
    own into the other half: nobody overwrites what others may still be reading.
    """
    d, D = tl.program_id(1), tl.num_programs(1)
    row = first_row + tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    cell = tl.program_id(0) * SLICE + tl.arange(0, SLICE)
    ok = (row < B)[:, None] & (cell < H)[None, :]
    length = tl.load(lengths + row, mask=row < B, other=0).to(tl.int32)
    own = (d * B + row)[:, None] * H + cell[None, :]  # in (D, B, H)
    here = (row * D + d)[:, None]  # in (B, D)
    arrived += d * tl.num_programs(2) + tl.program_id(2)
    weight += d * GATES * H * H
    half = D * B * H
    element = hidden.dtype.element_ty

    c = tl.load(c_n + own, mask=ok, other=0.0)
    h = tl.load(state + (start % 2) * half + own, mask=ok, other=0.0)
    w_c = _load(peephole + d * PEEPHOLES * H + cell[None, :], H, PEEPHOLES, (cell < H)[None, :])
    if RESIDENT:
        weights = _weights(weight, cell, 1, H, H, H, GATES, PARTS, WIDTH, CHUNKS)
    else:
        weights = ()
    nets = _nets(gates, T, start, stop, d, D, B, here, cell, ok, length, H, GATES)
    for s in range(start, stop):
        t = s + d * (T - 1 - 2 * s)
        frame = t.to(tl.int64) * B * D * H
        valid = (t < length)[:, None]
        if PERSISTENT:
            _wait(arrived, (s - start) * tl.num_programs(0))
        recurrent = _products(
            state + (s % 2) * half + d * B * H,
            row,
            H,
            B,
            weights,
            weight,
            cell,
            1,
            H,
            H,
            H,
            GATES,
            RESIDENT,
            PRECISION,
            ROWS,
            SLICE,
            PARTS,
            WIDTH,
            CHUNKS,
        )
        m, c_after, acts = _step(_add(nets, recurrent, GATES), c, w_c, CELL)
        h = tl.where(valid, m.to(element), h)
        c = tl.where(valid, c_after, c)
        tl.store(state + ((s + 1) % 2) * half + own, h, mask=ok)
        if PERSISTENT:
            _arrive(arrived)  # the others need no more of this step
        nets = _nets(gates, T, s + 1, stop, d, D, B, here, cell, ok, length, H, GATES)
        tl.store(hidden + frame + here * H + cell[None, :], tl.where(valid, h, 0.0), mask=ok)
        if KEEP:
            _store(act + frame * GATES + here * GATES * H + cell[None, :], H, acts, GATES, ok)
            if CELL != "rnn":
                tl.store(cells + frame + here * H + cell[None, :], c, mask=ok)
    tl.store(c_n + own, c, mask=ok)


@jit
def _kept(
    act,
    cells,
    c0,
    grad_hidden,
    T,
    s,
    stop,
    d,
    D,
    B,
    here,
    cell,
    own,
    ok,
    length,
    H: tl.constexpr,
    GATES: tl.constexpr,
    CELL: tl.constexpr,
):
    """For step ``s`` back: activations, the output's gradient, the cell state before it.

    Where a row begins, the forward pass left c0 in the frame that it came from.
    """
    t = T - 1 - s + d * (2 * s + 1 - T)
    frame = t.to(tl.int64) * B * D * H
    ok = ok & (s < stop)
    live = ok & (t < length)[:, None]
    acts = _load(act + frame * GATES + here * GATES * H + cell[None, :], H, GATES, live)
    at = here * H + cell[None, :]
    grad = tl.load(grad_hidden + frame + at, mask=live, other=0.0).to(tl.float32)
    before = tl.full(ok.shape, 0.0, tl.float32)
    if CELL != "rnn":
        back = frame + (2 * d - 1).to(tl.int64) * B * D * H
        first = s == T - 1
        before = tl.load(cells + back + at, mask=ok & (not first), other=0.0)
        before += tl.load(c0 + own, mask=ok & first, other=0.0)
    return acts, grad, before


@launched
def backward_steps(
    act,
    cells,
    weight,
    peephole,
    lengths,
    c0,
    grad_hidden,
    errors,
    grad_h,
    grad_c,
    grad_peephole,
    arrived,
    T,
    B,
    start,
    stop,
    first_row,
    H: tl.constexpr,
    GATES: tl.constexpr,
    PEEPHOLES: tl.constexpr,
    CELL: tl.constexpr,
    PERSISTENT: tl.constexpr,
    RESIDENT: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    SLICE: tl.constexpr,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """Steps ``start`` to ``stop`` of the T on the way back.

    ``errors (T, B, D, G * H)``, the errors at the net inputs, are also how programs tell each
    other. ``grad_h`` and ``grad_c (D, B, H)`` are the gradients of the state before the step, save
    that ``grad_h`` lacks what the step's own errors add to it. ``grad_peephole (blocks, D, P, H)``
    are sums over the rows of each block.
    """
    d, D = tl.program_id(1), tl.num_programs(1)
    block = first_row // ROWS + tl.program_id(2)
    row = block * ROWS + tl.arange(0, ROWS)
    cell = tl.program_id(0) * SLICE + tl.arange(0, SLICE)
    ok = (row < B)[:, None] & (cell < H)[None, :]
    length = tl.load(lengths + row, mask=row < B, other=0).to(tl.int32)
    own = (d * B + row)[:, None] * H + cell[None, :]  # in (D, B, H)
    here = (row * D + d)[:, None]  # in (B, D)
    arrived += d * tl.num_programs(2) + tl.program_id(2)
    weight += d * GATES * H * H
    element = errors.dtype.element_ty

    carried = tl.load(grad_h + own, mask=ok, other=0.0)
    carried_c = tl.load(grad_c + own, mask=ok, other=0.0)
    own_w = d * PEEPHOLES * H + cell[None, :]
    w_c = _load(peephole + own_w, H, PEEPHOLES, (cell < H)[None, :])
    grads_w = ()
    for _ in tl.static_range(PEEPHOLES):
        grads_w = grads_w + (tl.full((ROWS, SLICE), 0.0, tl.float32),)
    if RESIDENT:
        weights = _weights(weight, cell, H, 1, H, GATES * H, 1, PARTS, WIDTH, CHUNKS)
    else:
        weights = ()
    acts, grad, before = _kept(
        act,
        cells,
        c0,
        grad_hidden,
        T,
        start,
        stop,
        d,
        D,
        B,
        here,
        cell,
        own,
        ok,
        length,
        H,
        GATES,
        CELL,
    )
    t = T - 1 - start + d * (2 * start + 1 - T)
    c = before
    if CELL != "rnn":
        frame = t.to(tl.int64) * B * D * H
        c = tl.load(cells + frame + here * H + cell[None, :], mask=ok, other=0.0)
    for s in range(start, stop):
        t = T - 1 - s + d * (2 * s + 1 - T)
        after = t + 1 - 2 * d  # the step before on the way back, the one after on the way forward
        frame = t.to(tl.int64) * B * D * H
        live = ok & (t < length)[:, None]
        if PERSISTENT:
            _wait(arrived, (s - start) * tl.num_programs(0))
        flowed = _products(
            errors + (after.to(tl.int64) * B * D + d) * GATES * H,
            row,
            D * GATES * H,
            tl.where(s > 0, B, 0),
            weights,
            weight,
            cell,
            H,
            1,
            H,
            GATES * H,
            1,
            RESIDENT,
            PRECISION,
            ROWS,
            SLICE,
            PARTS,
            WIDTH,
            CHUNKS,
        )
        carried = tl.where((s > 0) & (after < length)[:, None], flowed[0], carried)
        d_net, before_c, terms = _back(acts, before, c, carried + grad, carried_c, w_c, CELL)
        carried_c = tl.where(live, before_c, carried_c)
        masked = ()
        for g in tl.static_range(GATES):
            masked = masked + (tl.where(live, d_net[g], 0.0),)
        _store(errors + frame * GATES + here * GATES * H + cell[None, :], H, masked, GATES, ok)
        if PERSISTENT:
            _arrive(arrived)
        more = ()
        for p in tl.static_range(PEEPHOLES):
            more = more + (grads_w[p] + tl.where(live, terms[p], 0.0),)
        grads_w = more
        c = before
        acts, grad, before = _kept(
            act,
            cells,
            c0,
            grad_hidden,
            T,
            s + 1,
            stop,
            d,
            D,
            B,
            here,
            cell,
            own,
            ok,
            length,
            H,
            GATES,
            CELL,
        )
    tl.store(grad_h + own, carried, mask=ok)
    tl.store(grad_c + own, carried_c, mask=ok)
    sums = grad_peephole + block * D * PEEPHOLES * H + d * PEEPHOLES * H + cell
    for p in tl.static_range(PEEPHOLES):
        so_far = tl.load(sums + p * H, mask=cell < H, other=0.0)
        tl.store(sums + p * H, so_far + tl.sum(grads_w[p], axis=0), mask=cell < H)
