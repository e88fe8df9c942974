"""What an experiment of the lineage is: a claim of a paper, run, drawn and judged."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress

__all__ = ["Experiment", "Result", "Settings", "perform", "section"]

FOLDER = Path("docs/lineage")


@dataclass(frozen=True)
class Settings:
    """How much of an experiment to run.

    ``reduced`` asks for the small form that tests run: seconds, fewer seeds, the same direction.
    ``advance`` is called with what has just been done, one short text a step of progress.
    """

    reduced: bool = False
    advance: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        holds: whether the claim showed itself here.
        verdict: one line, with the numbers that decide.
        numbers: everything that the figure shows, JSON values.
        figure: not yet saved.
    """

    holds: bool
    verdict: str
    numbers: dict[str, Any]
    figure: Figure


@dataclass(frozen=True)
class Experiment:
    """One claim and how to run it.

    Attributes:
        name: of the command and the files, lower case with hyphens.
        title: a few words.
        source: paper, section, table or equation.
        claim: what the paper says, in a sentence or two of our own.
        setup: task, sizes, learning rates, success criterion, as Markdown.
        scaled: what is smaller than in the paper, and by how much; empty if nothing is.
        steps: how often a full run calls ``Settings.advance``.
        run: does it.
    """

    name: str
    title: str
    source: str
    claim: str
    setup: str
    scaled: str
    steps: int
    run: Callable[[Settings], Result]


def perform(experiment: Experiment, folder: Path = FOLDER) -> Result:
    """Run in full, with progress; write ``NAME.png`` and ``NAME.json``; print the verdict."""
    started = time.monotonic()
    with _progress(experiment) as advance:
        result = experiment.run(Settings(advance=advance))
    seconds = time.monotonic() - started
    folder.mkdir(parents=True, exist_ok=True)
    result.figure.savefig(folder / f"{experiment.name}.png", dpi=110, bbox_inches="tight")
    record = {
        "name": experiment.name,
        "holds": result.holds,
        "verdict": result.verdict,
        "seconds": round(seconds, 1),
        "numbers": result.numbers,
    }
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    (folder / f"{experiment.name}.json").write_text(text, encoding="utf-8")
    mark = "holds" if result.holds else "does not hold here"
    Console().print(f"{experiment.title}: {mark}. {result.verdict}", highlight=False)
    return result


@contextmanager
def _progress(experiment: Experiment) -> Iterator[Callable[[str], None]]:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(experiment.name, total=experiment.steps)
        yield lambda text: progress.update(
            task, advance=1, description=f"{experiment.name}: {text}"
        )


def section(experiment: Experiment, folder: Path = FOLDER) -> str:
    """The experiment's part of ``docs/lineage.md``, from the files that :func:`perform` wrote.

    Raises:
        FileNotFoundError: it has not been run.
    """
    record = json.loads((folder / f"{experiment.name}.json").read_text(encoding="utf-8"))
    mark = "Holds" if record["holds"] else "Does not hold here"
    parts = [
        f"## {experiment.title}",
        f"*{experiment.source}*",
        f"**Claim.** {_text(experiment.claim)}",
        f"**Setting.** {_text(experiment.setup)}",
        f"**Scaled down.** {_text(experiment.scaled)}" if experiment.scaled else "",
        f"**{mark}.** {record['verdict']}",
        f"![{experiment.title}](lineage/{experiment.name}.png)",
        f"`python -m recipes.lineage {experiment.name}` ({record['seconds']:.0f} s); numbers in "
        f"[{experiment.name}.json](lineage/{experiment.name}.json).",
    ]
    return "\n\n".join(part for part in parts if part)


def _text(indented: str) -> str:
    return textwrap.dedent(indented).strip()
