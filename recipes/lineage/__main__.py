"""``python -m recipes.lineage NAME``: run a claim of the lineage and see it in a picture."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from recipes.common.cli import run_guarded
from recipes.lineage.experiment import FOLDER, Experiment, overview, perform, section
from recipes.lineage.on_speech import add_options, compare_runs

__all__ = ["MODULES", "load", "main"]

# In the order of the story.
MODULES = {
    "error-flow": "recipes.lineage.error_flow",
    "long-lags": "recipes.lineage.long_lags",
    "weight-conflicts": "recipes.lineage.weight_conflicts",
    "continual-input": "recipes.lineage.continual_input",
    "closed-gate": "recipes.lineage.closed_gate",
    "hidden-clock": "recipes.lineage.hidden_clock",
    "timing": "recipes.lineage.timing",
    "ctc": "recipes.lineage.ctc",
}
PAGE = Path("docs/lineage.md")
HEAD = Path(__file__).with_name("head.md")  # the page begins with it
TAIL = Path(__file__).with_name("tail.md")  # and ends with this: what trainings on speech gave


def load(name: str) -> Experiment:
    """The experiment called ``name``."""
    experiment: Experiment = import_module(MODULES[name]).EXPERIMENT
    return experiment


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status, as :func:`run_guarded` does."""
    parser = argparse.ArgumentParser(prog="python -m recipes.lineage", description=__doc__)
    parts = parser.add_subparsers(dest="name", required=True)
    for name in MODULES:
        parts.add_parser(name, help="run this experiment")
    parts.add_parser("all", help="run every experiment, then write the page")
    parts.add_parser("page", help="write the page from the results that are there")
    add_options(parts.add_parser("on-speech", help="compare runs of a recipe, paired by seed"))
    parsed = parser.parse_args(arguments)
    if parsed.name == "on-speech":
        return run_guarded(lambda: print(compare_runs(parsed)))
    return run_guarded(lambda: run(parsed.name))


def run(name: str) -> None:
    """Run one experiment, or all and the page, or the page alone."""
    for each in MODULES if name == "all" else [name] if name in MODULES else []:
        perform(load(each))
    if name not in MODULES:
        write_page()


def write_page() -> None:
    """Gather the results that are there into ``docs/lineage.md``."""
    done = [name for name in MODULES if (FOLDER / f"{name}.json").is_file()]
    head = HEAD.read_text(encoding="utf-8").strip()
    tail = TAIL.read_text(encoding="utf-8").strip()
    parts = [head, overview(done), *(section(name) for name in done), tail]
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(f"{PAGE}: {len(done)} of {len(MODULES)} experiments")


if __name__ == "__main__":
    sys.exit(main())
