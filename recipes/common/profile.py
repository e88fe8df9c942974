"""Where the time of training goes: ``python -m recipes.common.profile an4``, and fit's options."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from asr.machine import describe_machine
from asr.types import ConfigError
from recipes.common.cli import run_guarded
from recipes.common.data import Batch
from recipes.common.fit import quieten
from recipes.common.fit_cli import SpeechCLI
from recipes.common.module import SpeechModule
from recipes.common.recipe import Recipe

__all__ = ["PARTS", "Timer", "main", "profile", "with_its_backward"]

INPUT, FEATURES, AUGMENTATION, NETWORK, CTC, OPTIMISER = PARTS = (
    "input wait",
    "features",
    "augmentation",
    "network",
    "CTC",
    "optimiser",
)


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


@dataclass(frozen=True)
class Amount:
    """What was trained on: steps, the seconds of their audio, and the steps of an epoch."""

    steps: int
    audio: float
    batches: int


def profile(recipe: Recipe, argv: Sequence[str], steps: int) -> Table:
    """Train ``recipe`` for so many steps and measure their parts; nothing is kept.

    What is read and changed ahead, in a thread or by workers, counts as far as it is waited for.
    Features and augmentation are those in the training step. The network's part and CTC's are
    their backward passes as well; consistency of views counts as CTC forwards, and as network
    backwards.

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
        batches = len(cli.datamodule.train_dataloader())
    return _table(recipe, timer, Amount(steps, audio, batches))


def _train(cli: SpeechCLI, timer: Timer, steps: int) -> float:
    """Train for ``steps`` with ``timer`` beside; returns the seconds of audio."""
    module = cli.model.to(timer.device).train()
    module.trainer = cli.trainer
    optimizer = module.configure_optimizers()["optimizer"]
    audio = 0.0
    with _timed_parts(module, timer), closing(_batches(cli)) as batches:
        for _ in range(steps):
            with timer.part(INPUT):
                batch = next(batches).to(timer.device)
            audio += float(batch.lengths.sum()) / cli.datamodule.sample_rate
            with timer.part(CTC), cli.trainer.precision_plugin.train_step_context():
                value, _ = module.training_loss(batch)
            with timer.part(NETWORK):
                value.backward()
            with timer.part(OPTIMISER):
                if cli.trainer.gradient_clip_val:
                    clip_grad_norm_(module.parameters(), cli.trainer.gradient_clip_val)
                optimizer.step()
                optimizer.zero_grad()
    return audio


@contextmanager
def _timed_parts(module: SpeechModule, timer: Timer) -> Iterator[None]:
    """Let ``timer`` count the parts of ``module``'s training step."""
    parts: list[tuple[Any, str, str]] = [
        (module, "_features", FEATURES),
        (module, "_loss", CTC),
        (module.model, "with_intermediate", NETWORK),
    ]
    if module.augment is not None:
        parts.append((module.augment, "forward", AUGMENTATION))
    module._loss = with_its_backward(module._loss)
    for owner, name, part in parts:
        setattr(owner, name, timer.timed(part, getattr(owner, name)))
    try:
        yield
    finally:
        for owner, name, _ in parts:
            delattr(owner, name)  # the timed one, which hides the class's own


def with_its_backward(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``loss`` of log-probabilities that computes its gradient at once, with the same result."""

    def called(batch: Batch, log_probs: Tensor, lengths: Tensor) -> Tensor:
        leaf = log_probs.detach().requires_grad_()
        value = loss(batch, leaf, lengths)
        (gradient,) = torch.autograd.grad(value, leaf)
        given: Tensor = _Given.apply(log_probs, value.detach(), gradient)
        return given

    return called


class _Given(torch.autograd.Function):
    """A value whose gradient is known."""

    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return upstream * gradient, None, None


def _batches(cli: SpeechCLI) -> Generator[Batch, None, None]:
    """Training batches without end."""
    loader = cli.datamodule.train_dataloader()
    while True:
        yield from loader


def _table(recipe: Recipe, timer: Timer, amount: Amount) -> Table:
    total = sum(timer.seconds.values())
    table = Table(
        *("part", "ms a step", "s an epoch", "share"),
        title=f"{recipe.title}: {amount.steps} of {amount.batches} steps of an epoch",
        caption=f"{amount.audio:.1f} s of audio in {total:.1f} s: {amount.audio / total:.1f} times "
        f"real time\n{describe_machine(timer.device)}",
    )
    for name in (*PARTS, "all"):
        seconds = total if name == "all" else timer.seconds.get(name, 0.0)
        step = seconds / amount.steps
        epoch, share = f"{step * amount.batches:.1f}", f"{100 * seconds / total:.1f} %"
        table.add_row(name, f"{1000 * step:.1f}", epoch, share)
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
        quieten()
        table = profile(_recipe(own.recipe), rest, own.steps)
        Console().print(table)

    return run_guarded(run)


if __name__ == "__main__":
    sys.exit(main())
