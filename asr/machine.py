"""The machine that something is measured on, in a line."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import torch

__all__ = ["describe_machine"]


def describe_machine(device: torch.device) -> str:
    """Processor or GPU, threads and versions, in a line."""
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    else:
        count = torch.get_num_threads()
        where = f"{_processor()}, {count} {'thread' if count == 1 else 'threads'}"
        where += f", {torch.backends.cpu.get_cpu_capability()}"
    return f"{where}; torch {torch.__version__}, Python {platform.python_version()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return _told_by_macos() or platform.processor() or platform.machine()


def _told_by_macos() -> str:
    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
