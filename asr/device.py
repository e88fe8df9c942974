"""Where tensors are computed."""

from __future__ import annotations

import torch

from asr.types import ConfigError

__all__ = ["select_device"]


def select_device(name: str) -> torch.device:
    """The device called ``name`` ("cpu", "cuda", "cuda:1").

    Raises:
        ConfigError: there is no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"unknown device {name!r}", remedy="choose cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r} is not supported", remedy="choose cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device {name!r} is not here: torch sees {torch.cuda.device_count()} CUDA devices",
            remedy="choose cpu, or install a CUDA build of torch and its driver",
        )
    return device
