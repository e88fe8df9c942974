"""The recurrence on a GPU, forward and backward each in one launch where the layer fits.

A step needs the hidden vectors of all cells and is too small to fill a GPU, so what counts is what
lies between two steps. A program owns a slice of cells of one direction for a block of batch rows:
it keeps the cells' state in registers and their recurrent weights in shared memory, and runs all
steps in one launch (Diamos et al. 2016, "Persistent RNNs"). Between two steps it writes its own
hidden vectors, waits at a barrier for the other slices of its direction and block, and reads theirs
from L2; other directions and blocks it never waits for. Whatever else a step needs is read a step
ahead. On the way back the same division carries the errors; each program sums its peepholes'
gradients in registers. The gradient of the recurrent weights is one matrix product at the end.

The barrier needs all its programs on the GPU at once. :func:`plan` gives each a multiprocessor of
its own, and the launch is cooperative: the driver refuses what would wait for ever. More rows than
that go one launch after another. Where a layer's slices alone outnumber the multiprocessors, each
step is a launch. Such a step reads weights for longer than a launch takes to issue, so that a CUDA
graph of ours would hide nothing; in either form the host reads nothing back from the GPU, and the
operator can be captured in a caller's graph.

The cell state, its error and all sums are float32. Products are of bfloat16; of float32, in one
tensor-core product (tf32) where torch's setting for float32 matrices on the GPU allows it, else in
three (tf32x3), which are nearly as exact as float32.

Verified on an H200 against float64, and compiled for compute capability 8.0, the least it needs.
Without a GPU the tests use Triton's interpreter, which runs programs one after another: a barrier
among several they do not see.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from asr.nn.cells import CELLS
from asr.nn.kernels.operator import (
    Arguments,
    Gradients,
    Outputs,
    define,
    new_outputs,
)
from asr.types import ConfigError, ModelError

__all__ = ["MISSING", "Device", "Plan", "Work", "backward", "forward", "operator", "plan"]

MISSING = None if find_spec("triton") else "install triton"

WARPS = 8  # of a program: with one program a multiprocessor, up to 255 registers a thread
TILES = (16, 32, 64)  # 16 is the least that a tensor core multiplies
WIDTHS = (16, 32, 64, 128)
MOST_SUMS = 2048  # float32 partial sums of a warp: 64 registers a thread
MOST_READ = 4096  # bytes of hidden vectors that a warp reads at once: 32 registers a thread
SLOTS = 4  # columns of a cell that has several gates: a power of two, for `tl.split`
SPARE = 2048  # bytes of shared memory for the barrier and whatever the compiler adds
LINE = 32  # int32 between two barriers' counters: a line of the cache each

# What a step takes, in clock ticks of a multiprocessor. They weigh more rows against more cells a
# program, and need be right to a factor of two only.
TICKS_OF_BARRIER = 3000  # two trips to L2 and the slowest of the programs
TICKS_OF_TRIP = 600  # to L2 and back
BYTES_PER_TICK = 40  # read from L2
PRODUCTS_PER_TICK = 1000  # of bfloat16


@dataclass(frozen=True)
class Device:
    """A GPU: how many multiprocessors, and the bytes of shared memory that a program can have."""

    processors: int
    shared_memory: int


@dataclass(frozen=True)
class Work:
    """One pass over a layer: a matrix ``(inner, slots * cells)`` to multiply by at every step.

    ``slots`` is the columns of a cell, ``element`` the bytes that a number takes in shared memory.
    """

    rows: int
    directions: int
    cells: int
    inner: int
    slots: int
    element: int

    @classmethod
    def forward(cls, rows: int, directions: int, cells: int, gates: int, element: int) -> Work:
        """The gates of a cell are columns beside each other."""
        return cls(rows, directions, cells, cells, SLOTS if gates > 1 else 1, element)

    @classmethod
    def back(cls, rows: int, directions: int, cells: int, gates: int, element: int) -> Work:
        """The errors of all gates are read, and a cell is one column."""
        return cls(rows, directions, cells, gates * cells, 1, element)


@dataclass(frozen=True)
class Plan:
    """How a pass is divided among programs.

    Attributes:
        persistent: whether all steps are one launch, or each is one.
        rows: batch rows of a program, its block.
        cells: cells of a program, its slice.
        width: columns of the inner dimension that a warp multiplies at a time.
        resident: whether the weights stay in shared memory.
        blocks: blocks of rows in one launch.
    """

    persistent: bool
    rows: int
    cells: int
    width: int
    resident: bool
    blocks: int

    def slices(self, work: Work) -> int:
        """Programs of one direction and block, that wait for each other."""
        return _ceil(work.cells, self.cells)

    def chunks(self, work: Work) -> int:
        """Parts of the inner dimension, one after the other."""
        return _ceil(work.inner, WARPS * self.width)

    def shared_memory(self, work: Work) -> int:
        """Bytes that a program needs at most."""
        read = WARPS * self.rows * self.width * work.element
        sums = 4 * WARPS * self.rows * self.cells * work.slots  # of all warps, when they are added
        chunk = WARPS * self.width * work.slots * self.cells * work.element
        return (self.chunks(work) if self.resident else 1) * chunk + max(read, sums) + SPARE

    def ticks(self, work: Work, device: Device) -> float:
        """About how long a step of all rows takes."""
        blocks = _ceil(work.rows, self.rows)
        programs = work.directions * self.slices(work)
        if self.persistent:
            in_turn = _ceil(blocks, self.blocks)
        else:
            in_turn = _ceil(blocks * programs, device.processors)
        chunks, columns = self.chunks(work), work.slots * self.cells
        read = work.inner * work.element * (self.rows + (0 if self.resident else columns))
        products = chunks * WARPS * self.width * self.rows * columns * work.element / 2
        waits = TICKS_OF_BARRIER + chunks * TICKS_OF_TRIP
        return in_turn * (waits + read / BYTES_PER_TICK + products / PRODUCTS_PER_TICK)


@lru_cache(maxsize=256)
def plan(work: Work, device: Device, persistent: bool | None = None) -> Plan:
    """The division of ``work`` that should take least time on ``device``.

    Args:
        persistent: one launch, or one a step; None for one where the layer fits.

    Raises:
        ConfigError: the device cannot do it so.
    """
    for together in (True, False) if persistent is None else (persistent,):
        if plans := list(_plans(work, device, together)):
            return min(plans, key=lambda p: p.ticks(work, device))
    raise ConfigError(
        f"this GPU is too small for {work.cells} cells in {work.directions} directions",
        remedy="choose another kernel",
    )


def _plans(work: Work, device: Device, persistent: bool) -> list[Plan]:
    """Every division that fits."""
    plans = []
    for rows, cells, width in product(TILES, TILES, WIDTHS):
        blocks = _ceil(work.rows, rows)
        if persistent:
            at_once = device.processors // (work.directions * _ceil(work.cells, cells))
            blocks = min(blocks, at_once)
        too_much = rows * cells * work.slots > MOST_SUMS or rows * width * work.element > MOST_READ
        if blocks == 0 or too_much:
            continue
        for resident in (True, False) if persistent else (False,):
            one = Plan(persistent, rows, cells, width, resident, blocks)
            if one.shared_memory(work) <= device.shared_memory:
                plans.append(one)
    return plans


def _interpreted(work: Work, persistent: bool | None) -> Plan:
    """A plan for the interpreter: it runs programs in turn, so none may wait for another."""
    if persistent is False:
        return Plan(False, 16, 16, 16, False, _ceil(work.rows, 16))
    cells = max(16, 1 << (work.cells - 1).bit_length())
    return Plan(True, 16, cells, 16, True, 1)


def _ceil(whole: int, part: int) -> int:
    return -(-whole // part)


def forward(
    arguments: Arguments, training: bool = True, *, persistent: bool | None = None
) -> Outputs:
    """Run a cell over time in one direction or both; see :mod:`asr.nn.kernels.operator`.

    Args:
        persistent: one launch, or one a step; None for one where the layer fits.

    Raises:
        ModelError: there is a projection.
        ConfigError: Triton is missing, or the tensors are on a device that it has no code for.
    """
    _check(arguments)
    arguments = _contiguous(arguments)
    cell, gates, weight_hh, peephole, _, h0, c0, lengths = arguments
    outputs = new_outputs(arguments, training)
    outputs.c_n.copy_(c0)
    G, H = _sizes(cell, weight_hh)
    T, B, D, _ = gates.shape
    state = torch.stack([h0, h0])  # (2, D, B, H): before a step and after it
    tensors = (
        gates, weight_hh, outputs.c_n if peephole is None else peephole, lengths, state, *outputs,
    )  # fmt: skip
    work = Work.forward(B, D, H, G, _element(gates.dtype))
    _run("forward_steps", arguments, T, work, tensors, persistent, {"KEEP": training})
    return outputs


def backward(
    arguments: Arguments,
    outputs: Outputs,
    grad_hidden: Tensor,
    grad_c_n: Tensor,
    *,
    persistent: bool | None = None,
) -> Gradients:
    """The way back of :func:`forward`, from what it gave and the gradients of its results."""
    _check(arguments)
    arguments = _contiguous(arguments)
    cell, _, weight_hh, peephole, _, h0, c0, lengths = arguments
    _, _, act, cells = outputs
    G, H = _sizes(cell, weight_hh)
    T, B, D, _ = act.shape
    errors = torch.empty_like(act)
    grad_h, grad_c = torch.zeros_like(c0), grad_c_n.clone()
    P = len(CELLS[cell].peepholes)
    grad_peephole = c0.new_zeros(_ceil(B, TILES[0]), D, P, H)  # rows of every block
    tensors = (
        act, cells, weight_hh, c0 if peephole is None else peephole, lengths, c0, grad_hidden,
        errors, grad_h, grad_c, grad_peephole,
    )  # fmt: skip
    work = Work.back(B, D, H, G, _element(act.dtype))
    _run("backward_steps", arguments, T, work, tensors, persistent, {})
    nothing = act.new_empty(0)
    return Gradients(
        errors,
        weight_hh.new_empty(0),
        nothing if peephole is None else grad_peephole.sum(0),
        nothing.clone(),
        _gradient_h0(grad_h, errors, weight_hh, lengths).to(h0.dtype),
        grad_c,
    )


def _gradient_h0(grad_h: Tensor, errors: Tensor, weight_hh: Tensor, lengths: Tensor) -> Tensor:
    """``grad_h (D, B, H)`` as the last step back left it, with what that step's errors add."""
    T, _, D, _ = errors.shape
    if T == 0:
        return grad_h
    frames = (0, T - 1)[:D]
    last = torch.stack([errors[t, :, d] for d, t in enumerate(frames)])  # (D, B, G * H)
    valid = torch.stack([t < lengths for t in frames]).unsqueeze(2)  # (D, B, 1)
    return torch.where(valid, torch.bmm(last, weight_hh).to(grad_h.dtype), grad_h)


def _run(
    kernel: str,
    arguments: Arguments,
    T: int,
    work: Work,
    tensors: tuple[Tensor, ...],
    persistent: bool | None,
    options: dict[str, Any],
) -> None:
    """Launch ``kernel`` for all rows and steps."""
    if T * work.rows == 0:
        return
    weight_hh = arguments.weight_hh
    if _kernels().INTERPRETED:
        division = _interpreted(work, persistent)
    else:
        division = plan(work, _device(weight_hh.device), persistent)
    options = {**_constants(arguments.cell, work, division, _precision(weight_hh.dtype)), **options}
    launch = getattr(_kernels(), kernel)
    steps = [(0, T)] if division.persistent else [(s, s + 1) for s in range(T)]
    blocks = _ceil(work.rows, division.rows)
    with torch.cuda.device_of(weight_hh):  # type: ignore[no-untyped-call]
        for first in range(0, blocks, division.blocks):
            grid = (division.slices(work), work.directions, min(division.blocks, blocks - first))
            arrived = arguments.lengths.new_zeros(grid[1] * grid[2] * LINE, dtype=torch.int32)
            for start, stop in steps:
                launch[grid](
                    *tensors, arrived, T, work.rows, start, stop, first * division.rows, **options
                )


def _constants(cell: str, work: Work, division: Plan, precision: str) -> dict[str, Any]:
    """What a kernel is compiled for, and how."""
    return {
        "H": work.cells,
        "GATES": len(CELLS[cell].gates),
        "SLOTS": work.slots,
        "PEEPHOLES": len(CELLS[cell].peepholes),
        "CELL": cell,
        "PERSISTENT": division.persistent,
        "RESIDENT": division.resident,
        "PRECISION": precision,
        "ROWS": division.rows,
        "SLICE": division.cells,
        "PARTS": WARPS,
        "WIDTH": division.width,
        "LINE": LINE,
        "num_warps": WARPS,
        "num_stages": 1,  # Triton's own pipelining would read ahead in a loop, past the barrier
        "launch_cooperative_grid": division.persistent,
    }


def _check(arguments: Arguments) -> None:
    if arguments.weight_hr is not None:
        raise ModelError("the kernel 'triton' knows no projections", remedy="choose auto")
    if MISSING:
        raise ConfigError("triton is not installed", remedy=MISSING)
    if not (arguments.weight_hh.is_cuda or _kernels().INTERPRETED):
        raise ConfigError("the kernel 'triton' runs on a GPU only", remedy="choose auto")


@cache
def _kernels() -> ModuleType:
    """Imported at first use: Triton takes its time, and reads its environment when imported."""
    return import_module("asr.nn.kernels.triton_kernels")


def _contiguous(arguments: Arguments) -> Arguments:
    arguments = arguments.map(Tensor.contiguous)
    return arguments._replace(lengths=arguments.lengths.contiguous())


def _sizes(cell: str, weight_hh: Tensor) -> tuple[int, int]:
    """Gates G, and cells per direction H."""
    G = len(CELLS[cell].gates)
    return G, weight_hh.shape[1] // G


@cache
def _device(device: torch.device) -> Device:
    properties: Any = torch.cuda.get_device_properties(device)
    return Device(properties.multi_processor_count, properties.shared_memory_per_block_optin)


def _precision(dtype: torch.dtype) -> str:
    """How the kernels multiply numbers of ``dtype``."""
    if _kernels().INTERPRETED:
        return "interpreter"
    return "tf32" if dtype != torch.float32 or _tf32_allowed() else "tf32x3"


def _tf32_allowed() -> bool:
    matmul = torch.backends.cuda.matmul
    precision = getattr(matmul, "fp32_precision", None)  # since torch 2.9
    return bool(matmul.allow_tf32) if precision is None else precision == "tf32"


def _element(dtype: torch.dtype) -> int:
    """Bytes of a number in shared memory; tf32x3 keeps two parts of each."""
    return dtype.itemsize * (2 if _precision(dtype) == "tf32x3" else 1)


operator = define("triton", forward, backward)
