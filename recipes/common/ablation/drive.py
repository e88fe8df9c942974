"""Trains and evaluates the runs of an ablation, one after another; goes on where it was ended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.files.write import write_text
from asr.types import ConfigError
from recipes.common.ablation.plan import Job, arguments
from recipes.common.data import tokens_path

__all__ = ["Driver", "in_a_process", "result_of"]

RESULTS, STATE, LOG = "ablation", "ablation.json", "log.txt"
CORPUS = "ablation-corpus.json"  # beside a data folder's state, which earlier versions read whole

Command = Callable[[Sequence[str], Path], int]


def in_a_process(recipe: str) -> Command:
    """Runs a command of ``recipe`` in a process of its own, its output appended to a file."""

    def run(words: Sequence[str], log: Path) -> int:
        with log.open("ab") as file:
            command = [sys.executable, "-m", f"recipes.{recipe}", *words]
            return subprocess.run(command, stdout=file, stderr=file, check=False).returncode

    return run


def result_of(job: Job) -> Path | None:
    """The rows of a finished run, of the first split that is evaluated; None of any other.

    What was evaluated in a condition (``evaluate: {conditions: ...}``) is beside it.
    """
    if not _read(job.run / STATE).get("evaluated", True):  # earlier versions do not say
        return None
    split = str(job.evaluate.get("split", "dev")).partition(",")[0]
    for rows in sorted((job.run / RESULTS).glob("*.jsonl")):
        told = _read(rows.with_suffix(".json")).get("options", {})
        if told.get("split") == split and not told.get("condition"):
            return rows
    return None


@dataclass(frozen=True)
class Driver:
    """Does what is left of a job.

    Attributes:
        command: runs a command of the recipe, with a file for what it prints.
        corpus: of ``prepare``; None where the plan, or the recipe itself, says where it is.
    """

    command: Command
    corpus: Path | None

    def check(self, job: Job) -> None:
        """Refuse a run that was begun with other options, or data of another corpus.

        Raises:
            ConfigError: it was.
        """
        before = _read(job.run / STATE)
        made: dict[str, Path] = {}
        is_evaluated = result_of(job) is not None
        if is_evaluated or _has_begun(job.run):
            made |= {"prepare": job.run, "fit": job.run}
        if is_evaluated:
            made["evaluate"] = job.run / RESULTS
        for part, folder in made.items():
            now = _plain(getattr(job, part))
            if before.get(part, now) != now:
                raise ConfigError(
                    f"this was made with other options of {part}: {before[part]}, now {now}",
                    where=str(folder),
                    remedy="move it away to make it anew, or give the row another name",
                )
        if _is_prepared(job):
            self._check_corpus(job.data)

    @property
    def _place(self) -> str | None:
        """Where the corpus is, whatever the working directory."""
        return None if self.corpus is None else os.path.abspath(self.corpus)

    def _check_corpus(self, data: Path) -> None:
        """Refuse data of another corpus; those of earlier versions do not say of which they are.

        Raises:
            ConfigError: they are.
        """
        before = _read(data / CORPUS).get("corpus", self._place)
        if before != self._place:
            raise ConfigError(
                f"this was prepared from {before or 'no --corpus'}, and --corpus is now "
                f"{self._place or 'not given'}",
                where=str(data),
                remedy="give the same --corpus, or another --root",
            )

    def perform(self, job: Job) -> str | None:
        """Prepare, train and evaluate; returns what failed, if anything, and where it is told.

        Raises:
            OSError: a folder cannot be written.
        """
        if result_of(job) is not None:
            return None
        steps = [("prepare", self._prepare), ("fit", self._fit), ("evaluate", self._evaluate)]
        if job.trained != job.run:
            if not _is_trained(job.trained):
                return f"{job}: {job.trained} is not trained"
            steps = steps[-1:]
        job.run.mkdir(parents=True, exist_ok=True)
        for name, step in steps:
            started = time.monotonic()
            if step(job):
                return f"{job}: {name} failed, see {job.run / LOG}"
            if (seconds := time.monotonic() - started) >= 1.0:
                print(f"{job}: {name} took {seconds / 60:.1f} min", flush=True)
        return None

    def _prepare(self, job: Job) -> int:
        if _is_prepared(job):
            return 0
        corpus = () if self.corpus is None else ("--corpus", str(self.corpus))
        words = ["prepare", *corpus, "--data", str(job.data), *arguments(job.prepare)]
        code = self.command(words, job.run / LOG)
        if not code:
            write_text(job.data / CORPUS, json.dumps({"corpus": self._place}) + "\n")
            write_text(job.data / STATE, json.dumps(_plain(job.prepare)) + "\n")
        return code

    def _fit(self, job: Job) -> int:
        if _is_trained(job.run):
            return 0
        _write_state(job)
        given = {
            "data.data_dir": str(job.data),
            "run_dir": str(job.run),
            "seed_everything": job.seed,
            "trainer.enable_progress_bar": False,
            "resume": _has_begun(job.run),
        }
        words = ["fit", *arguments({**given, **job.fit}, yaml_values=True)]
        code = self.command(words, job.run / LOG)
        if not code:
            _write_state(job, trained=True)
        return code

    def _evaluate(self, job: Job) -> int:
        results = job.run / RESULTS
        if results.is_dir():
            shutil.rmtree(results)  # of an evaluation that did not come to its end
        _write_state(job, trained=True)
        places = ["--run", str(job.trained), "--data", str(job.data), "--results", str(results)]
        code = self.command(["evaluate", *places, *arguments(job.evaluate)], job.run / LOG)
        if not code:
            _write_state(job, trained=True, evaluated=True)
        return code


def _is_prepared(job: Job) -> bool:
    """Whether the data are there, by the same options."""
    return tokens_path(job.data).exists() and _read(job.data / STATE) == _plain(job.prepare)


def _is_trained(run: Path) -> bool:
    return bool(_read(run / STATE).get("trained"))


def _has_begun(run: Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return any((run / "checkpoints").glob("*.ckpt"))


def _write_state(job: Job, *, trained: bool = False, evaluated: bool = False) -> None:
    """Keep what the run was made with beside it."""
    options = {part: getattr(job, part) for part in ("prepare", "fit", "evaluate")}
    state = {**options, "trained": trained, "evaluated": evaluated}
    write_text(job.run / STATE, json.dumps(state, indent=2) + "\n")


def _plain(values: Any) -> Any:
    """Values as they come out of JSON."""
    return json.loads(json.dumps(values))


def _read(path: Path) -> dict[str, Any]:
    """What is in a file of state; nothing where there is none, or no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
