"""A run's folder is one training's: a second one that would write into it is refused."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only

from asr.types import TrainingError

__all__ = ["LOCK", "holding"]

LOCK = "lock"


@contextmanager
def holding(run: Path) -> Iterator[None]:
    """Keep other trainings out of the folder ``run``, which is made for it and goes if left empty.

    Of the processes of one training, the first does it.

    Raises:
        TrainingError: another training has the folder.
        OSError: the folder cannot be written.
    """
    if not _is_first():
        yield
        return
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    file = _take(run)
    try:
        yield
    finally:
        (run / LOCK).unlink(missing_ok=True)
        os.close(file)
        with suppress(OSError):  # one that is not empty stays
            for folder in made:
                folder.rmdir()


def _is_first() -> bool:
    """Whether this is the first process of the first machine."""
    machine = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))
    return rank_zero_only.rank == 0 and machine == "0"


def _take(run: Path) -> int:
    """The lock's file, open and taken.

    POSIX locks, unlike those of `flock`, end with this process, also where it is killed and
    processes that read audio for it live on for a moment.

    Raises:
        TrainingError: another training has it.
        OSError: the folder cannot be written.
    """
    path = run / LOCK
    while True:
        run.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(file)
            raise TrainingError(
                "another training is at work in this folder",
                where=str(run),
                remedy="wait for its end, or give another --run_dir",
            ) from None
        except OSError:  # a disk without locks
            return file
        if path.exists() and path.stat().st_ino == os.fstat(file).st_ino:
            return file
        os.close(file)  # the training before has just removed it
