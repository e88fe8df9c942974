"""Recordings that a command prints. A command is code: it is run only if the user says so."""

from __future__ import annotations

import subprocess
from functools import partial

from asr.types import AudioError
from recipes.custom.entries import Made, ReadOptions

__all__ = ["output_of"]


def output_of(command: str, name: str, where: str, options: ReadOptions) -> Made:
    """The recording called ``name`` that ``command`` prints.

    Raises:
        AudioError: no command may be run.
    """
    if not options.run_commands:
        raise AudioError(
            f"the recording is the output of a command: {command}",
            where=where,
            remedy="commands are code; add --run-commands to run those of a corpus that you trust",
        )
    return Made(f"{name}.wav", where, partial(_run, command, where))


def _run(command: str, where: str) -> bytes:
    """What a command prints.

    Raises:
        AudioError: it fails, or prints nothing.
    """
    done = subprocess.run(command, shell=True, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise AudioError(
            f"the command ends with {done.returncode}"
            + (f": {said[-1]}" if said else " and prints nothing"),
            where=where,
            remedy=f"run it by itself: {command}",
        )
    return done.stdout
