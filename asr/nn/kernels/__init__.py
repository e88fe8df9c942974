"""Ways to compute one and the same recurrence, behind one operator signature.

``reference``  plain tensor operations: any device, any floating type, every option
``triton``     compiled for the GPU at first use: float32 and bfloat16, no projection
``cpu``        C++ compiled at installation: float32 on the CPU

``auto`` takes the fastest that can do the work at hand; the environment variable
``PEEPHOLE_ASR_KERNEL`` puts another name in place of ``auto``. A kernel joins by an entry in
:data:`KERNELS` and an operator made by :func:`asr.nn.kernels.operator.define`.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from asr.nn.kernels import cpu, library, reference, triton
from asr.nn.kernels.operator import Operator
from asr.types import ConfigError

__all__ = ["AUTO", "KERNELS", "VARIABLE", "Kernel", "check_kernel", "choose"]

AUTO = "auto"
VARIABLE = "PEEPHOLE_ASR_KERNEL"


@dataclass(frozen=True)
class Kernel:
    """What a kernel can do, and where it is.

    Attributes:
        operator: as :func:`asr.nn.kernels.operator.define` returns it; None where it is missing.
        devices: kinds of device it runs on; empty for all.
        dtypes: of the gates; empty for all.
        capability: least compute capability of a GPU.
        projection: whether it knows projections.
        missing: what to do before it can run on this machine; None where it can.
    """

    operator: Operator | None
    devices: tuple[str, ...] = ()
    dtypes: tuple[torch.dtype, ...] = ()
    capability: tuple[int, int] = (0, 0)
    projection: bool = True
    missing: str | None = None

    def objection(self, gates: Tensor, projection: bool) -> str | None:
        """Why it cannot compute the recurrence of ``gates``, or None."""
        if self.devices and gates.device.type not in self.devices:
            return f"it does not run on {gates.device.type}"
        if self.dtypes and gates.dtype not in self.dtypes:
            return f"it does not compute in {str(gates.dtype).removeprefix('torch.')}"
        if gates.is_cuda and torch.cuda.get_device_capability(gates.device) < self.capability:
            return f"it needs a GPU of compute capability {self.capability[0]}.0 or more"
        if projection and not self.projection:
            return "it knows no projections"
        return f"it is not here: {self.missing}" if self.missing else None


# In the order in which `auto` tries them.
KERNELS: dict[str, Kernel] = {
    "triton": Kernel(
        triton.operator,
        devices=("cuda",),
        dtypes=(torch.float32, torch.bfloat16),
        capability=(8, 0),  # tensor cores for tf32 and bfloat16
        projection=False,
        missing=triton.MISSING,
    ),
    "cpu": Kernel(
        cpu.operator,
        devices=("cpu",),
        dtypes=(torch.float32,),
        missing=library.MISSING,
    ),
    "reference": Kernel(reference.operator),
}


def check_kernel(name: str) -> None:
    """Refuse a name that is neither ``auto`` nor a kernel's.

    Raises:
        ConfigError: no kernel has that name.
    """
    if name != AUTO and name not in KERNELS:
        raise ConfigError(
            f"unknown kernel {name!r}", remedy=f"choose one of {AUTO}, {', '.join(KERNELS)}"
        )


def choose(name: str, gates: Tensor, *, projection: bool = False) -> Operator:
    """The operator of kernel ``name`` for ``gates``, or the fastest that can if it is ``auto``.

    Raises:
        ConfigError: no kernel has that name, or it cannot do this.
    """
    wanted = os.environ.get(VARIABLE) or AUTO if name == AUTO else name
    check_kernel(wanted)
    if wanted == AUTO:
        kernel = next(k for k in KERNELS.values() if k.objection(gates, projection) is None)
        if kernel is KERNELS["reference"] and gates.requires_grad:
            _warn_of_absence(gates.device.type)
    else:
        kernel = KERNELS[wanted]
        if reason := kernel.objection(gates, projection):
            raise ConfigError(f"the kernel {wanted!r} cannot: {reason}", remedy="choose auto")
    return cast(Operator, kernel.operator)


def _warn_of_absence(device: str) -> None:
    """Say, once in a process, that training will be slow because a kernel is missing, if so."""
    for name, kernel in KERNELS.items():
        if device in kernel.devices and kernel.missing and name not in _warned:
            _warned.add(name)
            warnings.warn(
                f"training runs on the slow reference kernel. For {name!r}: {kernel.missing}",
                RuntimeWarning,
                stacklevel=3,
            )


_warned: set[str] = set()
