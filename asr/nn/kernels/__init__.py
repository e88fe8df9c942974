"""Ways to compute one and the same recurrence, behind one function signature.

A kernel takes ``gates (D, T, B, 4H)``, ``weight_hh (D, 4H, H)`` and ``peephole (D, 3, H)`` and
returns ``hidden (D, T, B, H)``; it starts from a zero state and knows nothing of lengths, because
the layer aligns every sequence at its first step (see :mod:`asr.nn.recurrent`). A faster kernel
joins by an entry in :data:`KERNELS`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from asr.nn.kernels import bptt, reference
from asr.types import ConfigError

__all__ = ["KERNELS", "Kernel", "get_kernel"]

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]

KERNELS: dict[str, Kernel] = {
    "reference": reference.peephole_lstm,
    "bptt": bptt.peephole_lstm,
}


def get_kernel(name: str) -> Kernel:
    """Return the kernel called ``name``; ``"auto"`` is the fastest that runs everywhere.

    Raises:
        ConfigError: no kernel has that name.
    """
    if name == "auto":
        return bptt.peephole_lstm
    if name not in KERNELS:
        raise ConfigError(
            f"unknown kernel {name!r}", remedy=f"choose one of auto, {', '.join(KERNELS)}"
        )
    return KERNELS[name]
