"""What a run was made by: commands and machines, kept in its folder."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from asr.files.write import write_text
from asr.machine import describe_machine

__all__ = ["RunRecord", "read_record"]

FILE = "record.json"


class RunRecord(pl.Callback):
    """Adds a line to ``record.json`` each time that training begins or goes on.

    Args:
        folder: the run's.
        command: the words of the command line.
    """

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self.folder = folder
        self.command = shlex.join(command)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write it."""
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        part = {
            "began": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": self.command,
            "machine": describe_machine(pl_module.device),
            "processes": trainer.world_size,
        }
        parts = [*read_record(self.folder), part]
        write_text(self.folder / FILE, json.dumps(parts, indent=2, ensure_ascii=False) + "\n")


def read_record(run: Path) -> list[dict[str, Any]]:
    """The parts of a run, in order; none of a run that keeps no record."""
    try:
        parts: list[dict[str, Any]] = json.loads((run / FILE).read_text(encoding="utf-8"))
        return parts
    except (OSError, ValueError):
        return []
