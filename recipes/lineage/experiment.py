"""What an experiment of the lineage is: a claim of a paper, run, drawn and judged."""

from __future__ import annotations

import json
import re
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress

__all__ = ["Experiment", "Result", "Settings", "Table", "overview", "perform", "section"]

FOLDER = Path("docs/lineage")
JOURNALS = Path("exp/lineage")  # of runs under way
MARKS = {True: "holds", None: "holds in part", False: "does not hold here"}


@dataclass(frozen=True)
class Settings:
    """How much of an experiment to run.

    ``reduced`` asks for the small form that tests run: seconds, fewer seeds, the same direction.
    ``first_seed`` lets a test ask for other seeds.
    ``advance`` is called with what has just been done, one short text a step of progress.
    ``once`` gives what a function returns, a JSON value: by calling it, or from the journal of a
    run that was cut off. Its key has to say all that the value depends on but the code.
    """

    reduced: bool = False
    first_seed: int = 0
    advance: Callable[[str], None] = lambda text: None
    once: Callable[[str, Callable[[], Any]], Any] = lambda key, compute: compute()


@dataclass(frozen=True)
class Table:
    """What the verdict rests on, in rows.

    Attributes:
        caption: a sentence.
        rows: the first has the headings.
    """

    caption: str
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        holds: whether the claim showed itself here; None if some parts of it did.
        verdict: one line, with the numbers that decide.
        numbers: everything that the figure shows, JSON values.
        figure: not yet saved.
        tables: for the page, under the verdict.
    """

    holds: bool | None
    verdict: str
    numbers: dict[str, Any]
    figure: Figure
    tables: Sequence[Table] = ()


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
    """Run in full, with progress; write ``NAME.png`` and ``NAME.json``; print the verdict.

    A run that was cut off goes on where it was, if the experiment has steps that are kept.
    """
    journal = Journal(JOURNALS / f"{experiment.name}.jsonl")
    started = time.process_time()
    with _progress(experiment) as advance:
        result = experiment.run(Settings(advance=advance, once=journal.once))
    seconds = time.process_time() - started + journal.recalled
    folder.mkdir(parents=True, exist_ok=True)
    result.figure.savefig(folder / f"{experiment.name}.png", dpi=110, bbox_inches="tight")
    record = {
        "name": experiment.name,
        "title": experiment.title,
        "source": experiment.source,
        "claim": _text(experiment.claim),
        "setup": _text(experiment.setup),
        "scaled": _text(experiment.scaled),
        "holds": result.holds,
        "verdict": result.verdict,
        "tables": [asdict(table) for table in result.tables],
        "seconds": round(seconds, 1),
        "numbers": result.numbers,
    }
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    (folder / f"{experiment.name}.json").write_text(text, encoding="utf-8")
    journal.path.unlink(missing_ok=True)
    mark = MARKS[result.holds]
    Console().print(f"{experiment.title}: {mark}. {result.verdict}", highlight=False)
    return result


class Journal:
    """Values that took long to find, a line each, so that a run may be cut off.

    ``recalled``: the seconds that the values in use took to find.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recalled = 0.0
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self._kept = {row["key"]: row for row in map(json.loads, lines)}

    def once(self, key: str, compute: Callable[[], Any]) -> Any:
        """What ``compute()`` returns, or what it did under the same key."""
        if key in self._kept:
            self.recalled += self._kept[key]["seconds"]
            return self._kept[key]["value"]
        started = time.process_time()
        value = compute()
        row = {"key": key, "seconds": time.process_time() - started, "value": value}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
        return value


@contextmanager
def _progress(experiment: Experiment) -> Iterator[Callable[[str], None]]:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(experiment.name, total=experiment.steps)
        yield lambda text: progress.update(
            task, advance=1, description=f"{experiment.name}: {text}"
        )


def section(name: str, folder: Path = FOLDER) -> str:
    """An experiment's part of ``docs/lineage.md``, from the files that :func:`perform` wrote.

    The setting is the one that was run, whatever the code says now.

    Raises:
        FileNotFoundError: it has not been run.
    """
    record = _read(name, folder)
    mark = MARKS[record["holds"]].capitalize()
    parts = [
        f"## {record['title']}",
        f"![{record['title']}](lineage/{name}.png)",
        f"**Claim.** {record['claim']} *({record['source']})*",
        f"**{mark}.** {record['verdict']}",
    ]
    for table in record.get("tables", []):
        parts += [table["caption"], _markdown(table["rows"])]
    parts += [
        f"**Setting.** {record['setup']}",
        f"**Scaled down.** {record['scaled']}" if record["scaled"] else "",
        f"`python -m recipes.lineage {name}` ({record['seconds']:.0f} s of one core); numbers in "
        f"[{name}.json](lineage/{name}.json).",
    ]
    return "\n\n".join(part for part in parts if part)


def overview(names: Sequence[str], folder: Path = FOLDER) -> str:
    """A table of all claims and whether they hold here, in Markdown.

    Raises:
        FileNotFoundError: one has not been run.
    """
    rows = [["experiment", "its claim", "seconds of one core"]]
    for name in names:
        record = _read(name, folder)
        place = re.sub(r"[^\w -]", "", record["title"].lower()).replace(" ", "-")
        link = f"[{record['title']}](#{place})"
        rows.append([link, MARKS[record["holds"]], f"{record['seconds']:.0f}"])
    return _markdown(rows)


def _read(name: str, folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return record


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rest])


def _text(indented: str) -> str:
    return textwrap.dedent(indented).strip()
