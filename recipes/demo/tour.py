"""The demonstration: serve the model that ships; speak, train, bundle, serve, and compare."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from asr.audio import probe_file
from asr.bundle.shipped import read_samples, shipped_bundle
from asr.scoring import ErrorCounts
from asr.types import AsrError
from recipes.common.data import manifest_path
from recipes.common.export import best_checkpoint, export
from recipes.common.manifests import read_manifest
from recipes.common.prepare import prepare
from recipes.common.recipe import Recipe
from recipes.demo.page import PORT
from recipes.demo.processes import server

__all__ = ["tour"]

SHOWN = 12  # lines of the table; the error rate is over all


def tour(recipe: Recipe) -> None:
    """Run every step in turn; finished training is not repeated.

    Raises:
        AsrError: a step failed; its message says which and why.
    """
    started = time.monotonic()
    console = Console()
    paths = recipe.paths
    console.rule("1. the model that comes with the toolkit, and people it has never heard")
    paths.root.mkdir(parents=True, exist_ok=True)
    _show_shipped(console, paths.root / "shipped.log")
    console.rule("2. speak: a small corpus from espeak-ng")
    if recipe.obtain is not None:
        recipe.obtain(paths.corpus)
    prepare(recipe, paths.corpus, paths.data)
    console.rule("3. train: a bidirectional peephole LSTM with CTC")
    _train(recipe)
    console.rule("4. bundle")
    export(best_checkpoint(paths.run), paths.bundle, recipe.name)
    console.print(f"{paths.bundle}: everything the server needs")
    console.rule("5. serve, and send it voices it has never heard")
    cuts = list(read_manifest(manifest_path(paths.data, "test")))
    references = {cut.recording.sources[0].source: cut.supervisions[0].text for cut in cuts}
    log = paths.root / "server.log"
    with server(paths.bundle, log) as address:
        console.print(f"asr-server answers on {address}; its log is {log}")
        hypotheses = _ask(address, list(references))
    console.print("asr-server stopped cleanly")
    console.rule("6. compare")
    _compare(recipe, references, hypotheses, console)
    console.print(f"whole demonstration: {time.monotonic() - started:.0f} s")
    console.print(
        "To speak to the model that ships: make demo OPEN=1. It opens "
        f"http://127.0.0.1:{PORT}/ in your browser.",
        soft_wrap=True,
    )


def _show_shipped(console: Console, log: Path) -> None:
    """Serve the model that has come with this installation, and show what it makes of its samples.

    Raises:
        AsrError: none has come, or the server does not start.
    """
    bundle = shipped_bundle()
    samples = read_samples(bundle)
    with server(bundle, log) as address:
        console.print(f"asr-server serves {bundle} at {address}; its log is {log}")
        started = time.monotonic()
        hypotheses = _ask(address, list(samples))
        spent = time.monotonic() - started
    table = Table("reference", "text", "seconds of speech", show_lines=True)
    seconds = {file: probe_file(file).duration for file in samples}
    for file, reference in samples.items():
        table.add_row(reference, hypotheses[file], f"{seconds[file]:.1f}")
    console.print(table)
    total = sum(seconds.values())
    console.print(
        f"{total:.0f} s of speech took {spent:.1f} s. The model is small and makes errors: "
        f"{bundle / 'README.md'} says how many. For your own recordings: asr transcribe FILES"
    )


def _train(recipe: Recipe) -> None:
    """Train unless a finished run is there; an interrupted one is taken up again."""
    from recipes.common.fit import fit

    finished = recipe.paths.run / "finished"
    last = recipe.paths.run / "checkpoints" / "last.ckpt"
    if finished.exists():
        print(f"already trained: {recipe.paths.run} (remove it to train again)")
        return
    fit(recipe, ["--resume", "true"] if last.exists() else [])
    finished.touch()


def _ask(address: str, files: list[str]) -> dict[str, str]:
    """Transcribe ``files`` with `asr-client`; returns the text by file."""
    command = [sys.executable, "-m", "server.client_cli.main", "--address", address]
    result = subprocess.run(
        [*command, "--format", "json", *files], stdout=subprocess.PIPE, text=True, check=False
    )
    if result.returncode != 0:
        raise AsrError(
            f"asr-client ended with exit code {result.returncode}",
            remedy="its own message stands above",
        )
    replies = [json.loads(line) for line in result.stdout.splitlines()]
    return {reply["file"]: reply["text"] for reply in replies}


def _compare(
    recipe: Recipe, references: dict[str, str], hypotheses: dict[str, str], console: Console
) -> None:
    table = Table(
        "reference", "hypothesis", title=f"{min(SHOWN, len(references))} of {len(references)}"
    )
    for file in list(references)[:: max(1, len(references) // SHOWN)][:SHOWN]:
        right = references[file] == hypotheses[file]
        table.add_row(references[file], hypotheses[file], style=None if right else "yellow")
    console.print(table)
    errors = sum(
        (recipe.metric.count(text, hypotheses[file]) for file, text in references.items()),
        ErrorCounts(),
    )
    console.print(
        f"word error rate on voices never heard in training: [bold]{100 * errors.rate:.2f} %[/bold]"
        f" ({len(references)} utterances, {errors.reference_length} words)"
    )
