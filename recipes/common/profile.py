"""Where the time of training goes: ``python -m recipes.common.profile an4``, and fit's options."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from asr.types import ConfigError
from recipes.common.cli import run_guarded
from recipes.common.data import Batch
from recipes.common.fit_cli import SpeechCLI
from recipes.common.recipe import Recipe

__all__ = ["Timer", "main", "profile"]

PARTS = ("input", "features", "network", "loss", "backward", "optimiser")


@dataclass
class Timer:
    """Seconds spent in named parts; a part within another is counted in the inner one alone."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)
    inner: list[float] = field(default_factory=list)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens within as ``name``."""
        self._wait()
        self.inner.append(0.0)
        began = time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            elapsed = time.perf_counter() - began
            own = elapsed - self.inner.pop()
            self.seconds[name] = self.seconds.get(name, 0.0) + own
            if self.inner:
                self.inner[-1] += elapsed

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, whose time counts as ``name``."""

        def called(*args: Any, **options: Any) -> Any:
            with self.part(name):
                return function(*args, **options)

        return called

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def profile(recipe: Recipe, argv: Sequence[str], steps: int) -> Table:
    """Train ``recipe`` for so many steps and measure their parts; nothing is kept.

    Raises:
        AsrError: as of ``fit``.
    """
    with TemporaryDirectory() as folder:
        quiet = ["--run_dir", folder, "--trainer.logger", "false"]
        cli = SpeechCLI(recipe, [*argv, *quiet])
        cli.preflight()
        timer = Timer(cli.trainer.strategy.root_device)
        _train(cli, timer, 1)  # the first step compiles and allocates
        timer.seconds.clear()
        audio = _train(cli, timer, steps)
    return _table(recipe, timer, steps, audio)


def _train(cli: SpeechCLI, timer: Timer, steps: int) -> float:
    """Train for ``steps`` with ``timer`` beside; returns the seconds of audio."""
    module = cli.model.to(timer.device).train()
    module.trainer = cli.trainer
    module._features = timer.timed("features", module._features)
    module._loss = timer.timed("loss", module._loss)
    module.model.with_intermediate = timer.timed("network", module.model.with_intermediate)
    optimizer = module.configure_optimizers()["optimizer"]
    batches = _batches(cli)
    audio = 0.0
    for _ in range(steps):
        with timer.part("input"):
            batch = next(batches).to(timer.device)
        audio += float(batch.lengths.sum()) / cli.datamodule.sample_rate
        with timer.part("loss"), cli.trainer.precision_plugin.train_step_context():
            value, _ = module.training_loss(batch)
        with timer.part("backward"):
            value.backward()
        with timer.part("optimiser"):
            optimizer.step()
            optimizer.zero_grad()
    del module._features, module._loss, module.model.with_intermediate  # the timed ones
    return audio


def _batches(cli: SpeechCLI) -> Iterator[Batch]:
    """Training batches without end."""
    loader = cli.datamodule.train_dataloader()
    while True:
        yield from loader


def _table(recipe: Recipe, timer: Timer, steps: int, audio: float) -> Table:
    total = sum(timer.seconds.values())
    table = Table(
        *("part", "ms a step", "share"),
        title=f"{recipe.title}: {steps} steps on {timer.device}",
        caption=f"{audio:.1f} s of audio in {total:.1f} s: {audio / total:.1f} times real time",
    )
    for name in PARTS:
        seconds = timer.seconds.get(name, 0.0)
        table.add_row(name, f"{1000 * seconds / steps:.1f}", f"{100 * seconds / total:.0f} %")
    return table


def _recipe(name: str) -> Recipe:
    try:
        module = importlib.import_module(f"recipes.{name}.__main__")
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("recipes."):
            raise
        module = None
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise ConfigError(f"there is no recipe {name!r}", remedy="give an4, for example")
    return recipe


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m recipes.common.profile", description=__doc__)
    parser.add_argument("recipe", help="an4, for example; more options are those of its fit")
    parser.add_argument("--steps", type=int, default=20, help="how many are measured (default: 20)")
    own, rest = parser.parse_known_args(argv)

    def run() -> None:
        if own.steps < 1:
            raise ConfigError(f"--steps is {own.steps}", remedy="give 1 or more")
        table = profile(_recipe(own.recipe), rest, own.steps)
        Console().print(table)

    return run_guarded(run)


if __name__ == "__main__":
    sys.exit(main())
