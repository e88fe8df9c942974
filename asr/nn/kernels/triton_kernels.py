"""Steps of a recurrence forward and backward in Triton's language, launched with many programs.

:mod:`asr.nn.kernels.triton` says how the work is divided and launches these. A program's place in
the grid is its slice of cells, its direction, its block of batch rows. Shapes are those of
:mod:`asr.nn.kernels.operator`; a tile is a tensor ``(ROWS, SLICE)``, and what comes for every gate
is a tuple of tiles.
"""

from __future__ import annotations

from asr.nn.kernels.triton_cells import INTERPRETED, back, jit, step, tl

__all__ = ["INTERPRETED", "backward_steps", "forward_steps"]

# No compilation for special values of what changes from call to call.
launched = jit(do_not_specialize=["T", "B", "start", "stop", "first_row"])


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


# Matrix products. Forward the inner dimension K is H, and the gates of a cell are columns beside
# each other, SLOTS of them; on the way back (BACK) K is G * H, and a cell is one column. K is cut
# in chunks of PARTS * WIDTH, and of each chunk every warp multiplies its own WIDTH columns by the
# whole slice: the batch dimension of `tl.dot` goes over warps. A few rows by one slice is too
# little to share between warps in any other way, and so no two of them read the same operand. Their
# PARTS partial sums are added at the end.


@jit
def _inner(chunk, PARTS: tl.constexpr, WIDTH: tl.constexpr):
    """The columns of a chunk, ``(PARTS, WIDTH)``."""
    part = tl.arange(0, PARTS)[:, None] + chunk * PARTS
    return part * WIDTH + tl.arange(0, WIDTH)[None, :]


@jit
def _weight(
    weight, chunk, first, H: tl.constexpr, GATES: tl.constexpr, SLOTS: tl.constexpr,
    BACK: tl.constexpr, SLICE: tl.constexpr, PARTS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One chunk of the slice's weights, ``(PARTS, WIDTH, SLICE * SLOTS)``."""
    k = _inner(chunk, PARTS, WIDTH)[:, :, None]
    if BACK:
        n = (first + tl.arange(0, SLICE))[None, None, :]
        pointer = weight + k * H + n
        inside = (k < GATES * H) & (n < H)
    else:
        column = tl.arange(0, SLICE * SLOTS)[None, None, :]
        gate, n = column % SLOTS, first + column // SLOTS
        pointer = weight + gate * H * H + n * H + k
        inside = (k < H) & (n < H) & (gate < GATES)
    return tl.load(pointer, mask=inside, other=0.0)


@jit
def _weights(
    weight, first, H: tl.constexpr, GATES: tl.constexpr, SLOTS: tl.constexpr, BACK: tl.constexpr,
    SLICE: tl.constexpr, PARTS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """All chunks; read before the loop, they stay in shared memory."""
    K: tl.constexpr = GATES * H if BACK else H
    tiles = ()
    for chunk in tl.static_range((K + PARTS * WIDTH - 1) // (PARTS * WIDTH)):
        w = _weight(weight, chunk, first, H, GATES, SLOTS, BACK, SLICE, PARTS, WIDTH)
        tiles = tiles + (w,)
    return tiles


@jit
def _products(
    x, stride, row, rows, weights, weight, first, H: tl.constexpr, GATES: tl.constexpr,
    SLOTS: tl.constexpr, BACK: tl.constexpr, RESIDENT: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, SLICE: tl.constexpr, PARTS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """The first ``rows`` rows of ``x``, ``stride`` apart, by the slice's weights: a tile a slot.

    ``x`` is read past L1, which does not see what other programs write.
    """
    K: tl.constexpr = GATES * H if BACK else H
    b = row[None, :, None]
    sums = tl.full((PARTS, ROWS, SLICE * SLOTS), 0.0, tl.float32)
    for chunk in tl.static_range((K + PARTS * WIDTH - 1) // (PARTS * WIDTH)):
        k = _inner(chunk, PARTS, WIDTH)[:, None, :]
        inside = (k < K) & (b < rows)
        x_k = tl.load(x + b * stride + k, mask=inside, other=0.0, cache_modifier=".cg")
        if RESIDENT:
            w = weights[chunk]
        else:
            w = _weight(weight, chunk, first, H, GATES, SLOTS, BACK, SLICE, PARTS, WIDTH)
        sums = _multiply(x_k, w, sums, PRECISION)
    return _slots(_sum_of_parts(sums, PARTS, ROWS, SLICE * SLOTS), ROWS, SLICE, SLOTS)


@jit
def _multiply(x, w, accumulator, PRECISION: tl.constexpr):
    if PRECISION == "interpreter":  # which cannot multiply bfloat16; these products are exact
        accumulator += tl.dot(x.to(tl.float32), w.to(tl.float32))
    else:
        accumulator = tl.dot(x, w, accumulator, input_precision=PRECISION)
    return accumulator


@jit
def _sum_of_parts(sums, PARTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """``(PARTS, ROWS, COLUMNS)`` added to ``(ROWS, COLUMNS)``, by halves.

    All parts of a number are brought to one thread in one exchange. `tl.sum` would reduce across
    warps in several, which take longer than the products.
    """
    tl.static_assert(PARTS == 8)
    parts = tl.reshape(tl.permute(sums, (1, 2, 0)), (ROWS, COLUMNS, 2, 2, 2))
    left, right = tl.split(parts)
    left, right = tl.split(left + right)
    left, right = tl.split(left + right)
    return left + right


@jit
def _slots(columns, ROWS: tl.constexpr, SLICE: tl.constexpr, SLOTS: tl.constexpr):
    """``(ROWS, SLICE * SLOTS)`` as a tile ``(ROWS, SLICE)`` a slot."""
    tl.static_assert(SLOTS == 1 or SLOTS == 4)
    if SLOTS == 1:
        tiles = (columns,)
    else:
        even, odd = tl.split(tl.reshape(columns, (ROWS, SLICE, 2, 2)))
        slot_0, slot_2 = tl.split(even)
        slot_1, slot_3 = tl.split(odd)
        tiles = (slot_0, slot_1, slot_2, slot_3)
    return tiles


# The barrier between steps, among the programs of one direction and one block of rows. They are all
# on the GPU at once, or this would wait for ever: the launch is cooperative.
#
# `debug_barrier` puts what all threads of a program wrote before the one thread that adds, and the
# one that saw the count before what all threads read; release and acquire order one program's
# writes before another's reads. `state` and `errors` alone are exchanged, and neither is read ahead
# of `_wait`.


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
    gates, weight, peephole, lengths, state, hidden, c_n, act, cells, arrived, T, B, start, stop,
    first_row, H: tl.constexpr, GATES: tl.constexpr, SLOTS: tl.constexpr, PEEPHOLES: tl.constexpr,
    CELL: tl.constexpr, KEEP: tl.constexpr, PERSISTENT: tl.constexpr, RESIDENT: tl.constexpr,
    PRECISION: tl.constexpr, ROWS: tl.constexpr, SLICE: tl.constexpr, PARTS: tl.constexpr,
    WIDTH: tl.constexpr, LINE: tl.constexpr,
):  # fmt: skip
    """Steps ``start`` to ``stop`` of the T, from and to ``state (2, D, B, H)`` and ``c_n``.

    Step s reads the hidden vectors of all cells from half ``s % 2`` of ``state`` and writes its
    own into the other half: nobody overwrites what others may still be reading.
    """
    d, D = tl.program_id(1), tl.num_programs(1)
    row = first_row + tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    first = tl.program_id(0) * SLICE
    cell = first + tl.arange(0, SLICE)
    ok = (row < B)[:, None] & (cell < H)[None, :]
    length = tl.load(lengths + row, mask=row < B, other=0).to(tl.int32)
    own = (d * B + row)[:, None] * H + cell[None, :]  # in (D, B, H)
    here = (row * D + d)[:, None]  # in (B, D)
    arrived += (d * tl.num_programs(2) + tl.program_id(2)) * LINE
    weight += d * GATES * H * H
    half = D * B * H
    element = hidden.dtype.element_ty

    c = tl.load(c_n + own, mask=ok, other=0.0)
    h = tl.load(state + (start % 2) * half + own, mask=ok, other=0.0)
    w_c = _load(peephole + d * PEEPHOLES * H + cell[None, :], H, PEEPHOLES, (cell < H)[None, :])
    weights = ()
    if RESIDENT:
        weights = _weights(weight, first, H, GATES, SLOTS, False, SLICE, PARTS, WIDTH)
    nets = _nets(gates, T, start, stop, d, D, B, here, cell, ok, length, H, GATES)
    s = start
    while s < stop:
        t = s + d * (T - 1 - 2 * s)
        frame = t.to(tl.int64) * B * D * H
        valid = (t < length)[:, None]
        if PERSISTENT:
            _wait(arrived, (s - start) * tl.num_programs(0))
        recurrent = _products(
            state + (s % 2) * half + d * B * H, H, row, B, weights, weight, first, H, GATES, SLOTS,
            False, RESIDENT, PRECISION, ROWS, SLICE, PARTS, WIDTH,
        )  # fmt: skip
        m, c_after, acts = step(_add(nets, recurrent, GATES), c, w_c, CELL)
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
        s += 1
    tl.store(c_n + own, c, mask=ok)


@jit
def _kept(
    act, cells, c0, grad_hidden, T, s, stop, d, D, B, here, cell, own, ok, length,
    H: tl.constexpr, GATES: tl.constexpr, CELL: tl.constexpr,
):  # fmt: skip
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
        frame_before = frame + (2 * d - 1).to(tl.int64) * B * D * H
        first = s == T - 1
        before = tl.load(cells + frame_before + at, mask=ok & (not first), other=0.0)
        before += tl.load(c0 + own, mask=ok & first, other=0.0)
    return acts, grad, before


@launched
def backward_steps(
    act, cells, weight, peephole, lengths, c0, grad_hidden, errors, grad_h, grad_c, grad_peephole,
    arrived, T, B, start, stop, first_row, H: tl.constexpr, GATES: tl.constexpr,
    SLOTS: tl.constexpr, PEEPHOLES: tl.constexpr, CELL: tl.constexpr, PERSISTENT: tl.constexpr,
    RESIDENT: tl.constexpr, PRECISION: tl.constexpr, ROWS: tl.constexpr, SLICE: tl.constexpr,
    PARTS: tl.constexpr, WIDTH: tl.constexpr, LINE: tl.constexpr,
):  # fmt: skip
    """Steps ``start`` to ``stop`` of the T on the way back.

    ``errors (T, B, D, G * H)``, the errors at the net inputs, are also how programs tell each
    other. ``grad_h`` and ``grad_c (D, B, H)`` are the gradients of the state before the step, save
    that ``grad_h`` lacks what the step's own errors add to it. ``grad_peephole (blocks, D, P, H)``
    are sums over the rows of each block.
    """
    d, D = tl.program_id(1), tl.num_programs(1)
    block = first_row // ROWS + tl.program_id(2)
    row = block * ROWS + tl.arange(0, ROWS)
    first = tl.program_id(0) * SLICE
    cell = first + tl.arange(0, SLICE)
    ok = (row < B)[:, None] & (cell < H)[None, :]
    length = tl.load(lengths + row, mask=row < B, other=0).to(tl.int32)
    own = (d * B + row)[:, None] * H + cell[None, :]  # in (D, B, H)
    here = (row * D + d)[:, None]  # in (B, D)
    arrived += (d * tl.num_programs(2) + tl.program_id(2)) * LINE
    weight += d * GATES * H * H

    carried = tl.load(grad_h + own, mask=ok, other=0.0)
    carried_c = tl.load(grad_c + own, mask=ok, other=0.0)
    own_w = d * PEEPHOLES * H + cell[None, :]
    w_c = _load(peephole + own_w, H, PEEPHOLES, (cell < H)[None, :])
    grads_w = ()
    for _ in tl.static_range(PEEPHOLES):
        grads_w = grads_w + (tl.full((ROWS, SLICE), 0.0, tl.float32),)
    weights = ()
    if RESIDENT:
        weights = _weights(weight, first, H, GATES, SLOTS, True, SLICE, PARTS, WIDTH)
    acts, grad, before = _kept(
        act, cells, c0, grad_hidden, T, start, stop, d, D, B, here, cell, own, ok,
        length, H, GATES, CELL,
    )  # fmt: skip
    t = T - 1 - start + d * (2 * start + 1 - T)
    c = before
    if CELL != "rnn":
        frame = t.to(tl.int64) * B * D * H
        c = tl.load(cells + frame + here * H + cell[None, :], mask=ok, other=0.0)
    s = start
    while s < stop:
        t = T - 1 - s + d * (2 * s + 1 - T)
        after = t + 1 - 2 * d  # the step before on the way back, the one after on the way forward
        frame = t.to(tl.int64) * B * D * H
        live = ok & (t < length)[:, None]
        if PERSISTENT:
            _wait(arrived, (s - start) * tl.num_programs(0))
        flowed = _products(
            errors + (after.to(tl.int64) * B * D + d) * GATES * H, D * GATES * H, row,
            tl.where(s > 0, B, 0), weights, weight, first, H, GATES, SLOTS, True, RESIDENT,
            PRECISION, ROWS, SLICE, PARTS, WIDTH,
        )  # fmt: skip
        carried = tl.where((s > 0) & (after < length)[:, None], flowed[0], carried)
        d_net, before_c, terms = back(acts, before, c, carried + grad, carried_c, w_c, CELL)
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
            act, cells, c0, grad_hidden, T, s + 1, stop, d, D, B, here, cell, own, ok,
            length, H, GATES, CELL,
        )  # fmt: skip
        s += 1
    tl.store(grad_h + own, carried, mask=ok)
    tl.store(grad_c + own, carried_c, mask=ok)
    sums = grad_peephole + block * D * PEEPHOLES * H + d * PEEPHOLES * H + cell
    for p in tl.static_range(PEEPHOLES):
        so_far = tl.load(sums + p * H, mask=cell < H, other=0.0)
        tl.store(sums + p * H, so_far + tl.sum(grads_w[p], axis=0), mask=cell < H)
