"""A bundle of ours beside pocketsphinx and Whisper, on the same utterances.

``python -m benchmarks.peers MANIFEST --output FOLDER --run SYSTEM`` recognises the utterances of a
manifest that ``prepare`` wrote, one at a time, and prints a table of all results in FOLDER: error
rate with its interval by speaker, processor time, size and peak memory. Rows that are there stay,
so systems can be run one by one. A peer runs in a Python of its own (``--python``), where its
package is installed: see ``docs/performance.md``.

All texts, references too, get one form: no case, no punctuation, numbers spelled, a few titles
written out. FOLDER/SYSTEM.jsonl has each utterance, for ``compare``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lhotse.cut import Cut

from asr.audio import resample, write_wav
from asr.files.write import write_text
from asr.machine import describe_machine
from asr.scoring import ErrorCounts, bootstrap_interval, word_errors
from asr.types import ConfigError
from benchmarks.peer import RATE, SYSTEMS
from benchmarks.timing import note
from recipes.common.cli import run_guarded
from recipes.common.compare import read_rows
from recipes.common.evaluate.totals import groups_of
from recipes.common.manifests import load_samples, read_manifest
from recipes.common.normaliser import TextOptions

FORM = TextOptions(case="upper", punctuation="dropped", quotes="unified", numbers="en")
WRITTEN_OUT = {"MR": "MISTER", "MRS": "MISSUS", "MISSIS": "MISSUS", "DR": "DOCTOR"}
RAW = argparse.RawDescriptionHelpFormatter
WORKER = Path(__file__).with_name("peer.py")


def in_one_form(text: str) -> str:
    """``text`` as all systems are compared."""
    return " ".join(WRITTEN_OUT.get(word, word) for word in FORM.apply(text).split())


def choose(cuts: Sequence[Cut], limit: int | None) -> list[Cut]:
    """``limit`` of the utterances, the same in every call."""
    ordered = sorted(cuts, key=lambda cut: cut.id)
    if limit is None or limit >= len(ordered):
        return ordered
    return sorted(random.Random(0).sample(ordered, limit), key=lambda cut: cut.id)


def recognise(
    system: str, python: str, model: str, threads: int, files: Sequence[Path]
) -> Iterator[dict[str, Any]]:
    """The worker's lines: one a file, and the last of the whole."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [python, str(WORKER), system, model, str(threads)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(f"{path}\n" for path in files))
        process.stdin.close()
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise ConfigError(
            f"{system} ended with {process.returncode} in {python}",
            remedy="is its package installed there? docs/performance.md says how",
        )


def measure(arguments: argparse.Namespace, cuts: Sequence[Cut]) -> None:
    """Run one system and write its rows and figures."""
    seconds = sum(cut.duration for cut in cuts)
    with TemporaryDirectory() as folder:
        files = [_wav(Path(folder) / f"{number}.wav", cut) for number, cut in enumerate(cuts)]
        lines: list[dict[str, Any]] = []
        for line in recognise(
            arguments.run, arguments.python, arguments.model, arguments.threads, files
        ):
            lines.append(line)
            if len(lines) % 20 == 0:
                note(f"{arguments.run}: {len(lines)} of {len(cuts)}")
    *texts, whole = lines
    rows = [
        {
            "id": cut.id,
            "speaker": cut.supervisions[0].speaker,
            "reference": in_one_form(cut.supervisions[0].text or ""),
            "hypothesis": in_one_form(line["text"]),
        }
        for cut, line in zip(cuts, texts, strict=True)
    ]
    name = arguments.name or arguments.run
    arguments.output.mkdir(parents=True, exist_ok=True)
    facts = _facts(arguments.output, name)
    facts |= whole
    facts["machine"] = describe_machine(torch.device("cpu"))
    facts.setdefault("spent", {})[str(arguments.threads)] = {
        "threads": arguments.threads,
        "audio": seconds,
        "cpu": sum(text["cpu"] for text in texts),
        "wall": sum(text["seconds"] for text in texts),
    }
    rows_file = arguments.output / f"{name}.jsonl"
    if arguments.threads == 1 or not rows_file.exists():
        facts["utterances"] = len(cuts)
        write_text(rows_file, "".join(json.dumps(row) + "\n" for row in rows))
    write_text(arguments.output / f"{name}.json", json.dumps(facts, indent=2) + "\n")


def _wav(path: Path, cut: Cut) -> Path:
    """The utterance as a file of 16-bit samples, which every system reads."""
    write_wav(path, resample(load_samples(cut), RATE))
    return path


def _facts(folder: Path, name: str) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((folder / f"{name}.json").read_text("utf-8"))
        return facts
    except FileNotFoundError:
        return {}


def table(folder: Path) -> str:
    """All results in ``folder``, in Markdown, the least wrong first."""
    lines = [
        "| system | utterances | WER % (95 % by speaker) | 1 thread, x real time "
        "| 2 threads | model | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    results = [(path.stem, *_errors(path)) for path in folder.glob("*.jsonl")]
    machines = []
    for name, errors, interval in sorted(results, key=lambda result: result[1].rate):
        facts = _facts(folder, name)
        machines.append(facts["machine"])
        low, high = (f"{100 * end:.2f}" for end in interval)
        cells = [name, str(facts["utterances"]), f"{100 * errors.rate:.2f} ({low} to {high})"]
        cells += [_speed(facts["spent"].get(threads)) for threads in ("1", "2")]
        cells += [f"{facts['bytes'] / 1e6:.1f} MB", f"{facts['peak'] / 1e6:.0f} MB"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *dict.fromkeys(machines)]) + "\n"


def _errors(rows: Path) -> tuple[ErrorCounts, tuple[float, float]]:
    """Of one system: the sum, and the interval."""
    read = read_rows(rows)
    errors = [word_errors(row.reference, row.hypothesis) for row in read.values()]
    groups, _ = groups_of([(name, row.speaker) for name, row in read.items()])
    return sum(errors, ErrorCounts()), bootstrap_interval(errors, groups)


def _speed(spent: dict[str, float] | None) -> str:
    """Seconds of computing per second of audio: processor time of one thread, else wall time."""
    if spent is None:
        return ""
    return f"{spent['cpu' if spent['threads'] == 1 else 'wall'] / spent['audio']:.3f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is asked for, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RAW)
    parser.add_argument("manifest", type=Path, help="a split that `prepare` wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder of all results")
    parser.add_argument("--run", choices=sorted(SYSTEMS), help="recognise; else print the table")
    parser.add_argument("--python", default=sys.executable, help="of the peer's environment")
    parser.add_argument("--model", default="", help="a bundle, or another model of the peer")
    parser.add_argument("--name", help="of the row (default: the system's)")
    parser.add_argument("--threads", type=int, default=1, choices=(1, 2))
    parser.add_argument("--limit", type=int, metavar="N", help="so many of the utterances")
    arguments = parser.parse_args(argv)
    if arguments.run == "ours" and not arguments.model:
        parser.error("--run ours needs --model BUNDLE")
    if arguments.run:
        measure(arguments, choose(list(read_manifest(arguments.manifest)), arguments.limit))
    print(table(arguments.output), end="")


if __name__ == "__main__":
    sys.exit(run_guarded(main))
