"""Beginning from a model that is trained already: other data, other tokens, frozen layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml
from torch import nn

from asr.bundle import Bundle, load_bundle
from asr.nn.model import AcousticModel
from asr.tokens import BLANK, Tokenizer
from asr.types import ConfigError, TrainingError
from recipes.common.export import BEST_CHECKPOINT, best_checkpoint, bundle_from_checkpoint
from recipes.common.module import SpeechModule
from recipes.common.resume import FREE, differences

__all__ = ["BEST", "Start", "freeze", "is_begun_from", "read_start"]

CMVN = ("normalisation", "silence_db", "range_db")  # of the front end: no weight depends on them
BEST = "best"  # the best checkpoint of the recipe's own run
LAYER = re.compile(r"recurrent\.(?:.*\.)?layers\.\d+(?=\.)")


@dataclass(frozen=True)
class Start:
    """The model that training begins from, and the file or folder that it was read from."""

    bundle: Bundle
    path: Path

    @contextmanager
    def defaults(self) -> Iterator[Path]:
        """A YAML file of the front end and the network, to stand in for a recipe's own.

        It says nothing of what no weight depends on: dropout, noise and the like are the recipe's.
        """
        network = {
            name: value
            for name, value in asdict(self.bundle.model.config.network).items()
            if name not in FREE
        }
        model = {"features": self.bundle.extractor.config.to_dict(), "network": network}
        with TemporaryDirectory() as folder:
            path = Path(folder) / "start.yaml"
            path.write_text(yaml.safe_dump({"model": _plain(model)}), encoding="utf-8")
            yield path

    def keeps_statistics(self, module: SpeechModule) -> bool:
        """Whether this model's CMVN statistics of a corpus are those that ``module`` needs."""
        mine, theirs = self.bundle.extractor, module.extractor
        same = all(getattr(mine.config, name) == getattr(theirs.config, name) for name in CMVN)
        return same and mine.config.normalisation != "speaker" and mine.knows_corpus

    def put_into(self, module: SpeechModule) -> str:
        """Copy weights and statistics into ``module``; returns a line that says what was known.

        The output layer has a row for each token. Those of tokens that both models have are
        copied, the blank's too; the others stay as they were drawn.

        Raises:
            TrainingError: the options ask for another front end or another network.
        """
        self._require_same_network(module)
        module.extractor.load_state_dict(self.bundle.extractor.state_dict())
        ids = _shared_ids(self.bundle.tokenizer, module.tokenizer)
        old = self.bundle.model.state_dict()
        with torch.no_grad():
            for name, tensor in module.model.state_dict().items():
                if name.startswith("output."):
                    for before, now in ids:
                        tensor[now] = old[name][before]
                else:
                    tensor.copy_(old[name])
        return f"beginning from {self.path}: {_knowledge(module.tokenizer, [n for _, n in ids])}"

    def _require_same_network(self, module: SpeechModule) -> None:
        features = self.bundle.extractor.config.to_dict(), module.extractor.config.to_dict()
        models = self.bundle.model.config.to_dict(), module.model.config.to_dict()
        pairs = [
            pair
            for before, now in (features, models)
            for pair in differences(before, now)
            if pair[0] not in (*CMVN, "vocab_size")
        ]
        if pairs:
            raise TrainingError(
                "the model to begin from has other options: "
                + ", ".join(f"{name} {before}, now {now}" for name, before, now in pairs),
                where=str(self.path),
                remedy="leave them out to take the model's own, or begin without --init",
            )


def _plain(value: Any) -> Any:
    """``value`` with lists for tuples, as YAML has them."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _shared_ids(before: Tokenizer, now: Tokenizer) -> list[tuple[int, int]]:
    """Ids, before and now, of the tokens that both have; of other kinds, of the blank alone."""
    ids = {token: number for number, token in enumerate(before.tokens)}
    names = now.tokens if before.kind == now.kind else (BLANK,)
    return [(ids[token], number) for number, token in enumerate(names) if token in ids]


def _knowledge(tokenizer: Tokenizer, known: Sequence[int]) -> str:
    new = [token for number, token in enumerate(tokenizer.tokens) if number not in set(known)]
    shown = " ".join(new[:20]) + (" …" if len(new) > 20 else "")
    text = f"it knows {len(known)} of the {tokenizer.size} tokens"
    return f"{text}, new are {shown}" if new else text


def read_start(init: str, run: Path) -> Start:
    """Read what ``--init`` names: a bundle, a checkpoint, a run's folder, or the best of ``run``.

    Raises:
        TrainingError: there is no such model.
        BundleError: the bundle is damaged.
    """
    path = Path(init).absolute()
    if init == BEST:
        path = best_checkpoint(run).absolute()
    elif (path / "checkpoints").is_dir():
        path = best_checkpoint(path)
    if path.is_dir():
        return Start(load_bundle(path), path)
    if not path.exists():
        raise TrainingError(
            "no such model to begin from",
            where=str(path),
            remedy=f"give --init a bundle's folder, a checkpoint, a run's folder or {BEST!r}",
        )
    return Start(bundle_from_checkpoint(path, path.stem), path)


def is_begun_from(init: str, path: str, run: Path) -> bool:
    """Whether what ``--init`` names is ``path``, which :func:`read_start` found; it may be gone."""
    place = run if init == BEST else Path(init)
    return Path(path) in (place.absolute(), (place / BEST_CHECKPOINT).absolute())


def freeze(model: AcousticModel, what: int | list[str]) -> str | None:
    """Keep weights from being trained; returns a line that says which, or None for none.

    Args:
        model: the network.
        what: how many of the lowest recurrent layers, with all that lies below them; or the first
            parts of the names of weights, such as ``recurrent.layers.0`` or ``output``.

    Raises:
        ConfigError: there is no such layer or name, or nothing is left to train.
    """
    names = _lowest(model, what) if isinstance(what, int) else _named(model, what)
    if not names:
        return None
    parameters = dict(model.named_parameters())
    if len(names) == len(parameters):
        raise ConfigError("--freeze leaves nothing to train", remedy="freeze fewer layers")
    for name in names:
        parameters[name].requires_grad_(False)
    frozen = sum(parameters[name].numel() for name in names)
    total = sum(parameter.numel() for parameter in parameters.values())
    return f"{frozen:,} of {total:,} weights are frozen"


def _lowest(model: nn.Module, count: int) -> list[str]:
    """Names of the weights of the ``count`` lowest layers, and of all below."""
    names = [name for name, _ in model.named_parameters()]
    layer_of = [match[0] if (match := LAYER.match(name)) else None for name in names]
    layers = list(dict.fromkeys(layer for layer in layer_of if layer))
    if not 0 <= count <= len(layers):
        raise ConfigError(
            f"--freeze is {count}, and there are {len(layers)} recurrent layers",
            remedy=f"give a number from 0 to {len(layers)}, or names of weights",
        )
    if not count:
        return []
    last = max(n for n, layer in enumerate(layer_of) if layer == layers[count - 1])
    return names[: last + 1]


def _named(model: nn.Module, prefixes: Sequence[str]) -> list[str]:
    """Names of the weights that begin with one of ``prefixes``, up to a dot or the end."""
    names = [name for name, _ in model.named_parameters()]
    found = []
    for prefix in prefixes:
        matching = [name for name in names if f"{name}.".startswith(f"{prefix}.")]
        if not matching:
            raise ConfigError(
                f"no weight is called {prefix!r}", remedy=f"choose among {', '.join(names)}"
            )
        found += matching
    return list(dict.fromkeys(found))
