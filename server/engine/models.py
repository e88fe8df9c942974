"""The models that calls can ask for: found, loaded, warmed up, exchanged while serving."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc
import numpy as np
from torch import Tensor

from asr.bundle.contents import CONFIG
from asr.decoding import BeamOptions
from asr.recognizer import PreparedWaveform, Recognizer
from asr.types import BundleError, ConfigError, Waveform
from server.engine.batching import Batcher
from server.errors import Refusal

__all__ = ["BundleFolder", "ModelSource", "Models", "Repository", "ServedModel", "SingleBundle"]

log = logging.getLogger(__name__)

WARM_UP_SECONDS = 1.0

# Log-probabilities (T, V) of each waveform of a batch.
Compute = Callable[[Sequence[PreparedWaveform]], list[Tensor]]


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that is ready. ``fingerprint`` tells it from another under the same name.

    ``batcher`` gives the log-probabilities ``(T, V)`` of one waveform.
    """

    name: str
    recognizer: Recognizer
    fingerprint: str
    batcher: Batcher[Tensor]


@dataclass(frozen=True)
class BundleFolder:
    """A bundle on disk, not loaded."""

    name: str
    path: Path

    def fingerprint(self) -> str:
        """SHA-256 of ``config.json``, which holds the checksums of the bundle's other files.

        Empty where it cannot be read: loading the bundle says why.
        """
        try:
            return hashlib.sha256((self.path / CONFIG).read_bytes()).hexdigest()
        except OSError:
            return ""


class ModelSource(Protocol):
    """Where bundles are."""

    @property
    def default(self) -> str | None:
        """The model of calls that name none; None: the only one there is."""

    def find(self) -> list[BundleFolder]:
        """The bundles that are there now.

        Raises:
            AsrError: there are none, or the place cannot be read.
        """


@dataclass(frozen=True)
class SingleBundle:
    """One bundle, named as its folder is."""

    path: Path
    default: str | None = None

    def find(self) -> list[BundleFolder]:
        """See :class:`ModelSource`."""
        return [BundleFolder(self.path.resolve().name, self.path)]


@dataclass(frozen=True)
class Repository:
    """A folder of bundles, each named as its folder is. Those with a dot before are left out."""

    path: Path
    default: str | None = None

    def find(self) -> list[BundleFolder]:
        """See :class:`ModelSource`."""
        try:
            folders = sorted(entry for entry in self.path.iterdir() if entry.is_dir())
        except OSError as error:
            raise ConfigError(
                f"the model repository cannot be read: {error.strerror}",
                where=str(self.path),
                remedy="give a folder whose folders are bundles",
            ) from None
        found = [BundleFolder(folder.name, folder) for folder in folders if folder.name[0] != "."]
        if not found:
            raise ConfigError(
                "the model repository holds no bundles",
                where=str(self.path),
                remedy="give a folder whose folders are bundles",
            )
        return found


@dataclass(frozen=True)
class _Service:
    """What calls can ask for, in one value, so that an exchange is one step."""

    models: Mapping[str, ServedModel]
    default: str


class Models:
    """The models in service. A call keeps the one it began with; an exchange is for later calls.

    Args:
        source: where bundles are.
        read: makes a recogniser of a bundle's folder.
        make_batcher: makes what joins the calls of one model into batches for it.
    """

    def __init__(
        self,
        source: ModelSource,
        read: Callable[[Path], Recognizer],
        make_batcher: Callable[[Compute], Batcher[Tensor]],
    ) -> None:
        self._source = source
        self._read = read
        self._make_batcher = make_batcher
        self._service = _Service({}, "")

    @property
    def default(self) -> str:
        """The name of the model for calls that name none; empty where there is none such."""
        return self._service.default

    def all(self) -> list[ServedModel]:
        """Every model, by name."""
        models = self._service.models
        return [models[name] for name in sorted(models)]

    def get(self, name: str) -> ServedModel:
        """The model called ``name``; the default for an empty name.

        Raises:
            Refusal: there is none.
        """
        models, default = self._service.models, self._service.default
        if not models:
            raise Refusal(
                grpc.StatusCode.UNAVAILABLE,
                "loading",
                "the model is being loaded; try again later",
                retry=True,
            )
        model = models.get(name or default)
        if model is None:
            there = ", ".join(sorted(models))
            what = f"there is no model {name!r}" if name else "this server has no default model"
            raise Refusal(grpc.StatusCode.NOT_FOUND, "model", f"{what} (choose one of {there})")
        return model

    def load(self) -> list[str]:
        """Read and warm up every bundle that is new or has changed, then put them into service.

        All or nothing: where one cannot be loaded, the models in service stay as they are. This
        takes seconds and blocks: it is for a thread.

        Returns:
            What changed, in words.

        Raises:
            AsrError: the source, or one of the bundles, cannot be used.
        """
        found = self._source.find()
        default = self._source.default or (found[0].name if len(found) == 1 else "")
        if self._source.default and default not in {folder.name for folder in found}:
            raise ConfigError(
                f"there is no bundle {default!r} to be the default model",
                remedy=f"choose one of {', '.join(folder.name for folder in found)}",
            )
        models = {folder.name: self._ready(folder) for folder in found}
        before, self._service = self._service, _Service(models, default)
        return _changes(before.models, models)

    def _ready(self, folder: BundleFolder) -> ServedModel:
        """The model of ``folder``: the one in service if it is the same, else a fresh one."""
        before, fingerprint = self._service.models.get(folder.name), folder.fingerprint()
        if before is not None and before.fingerprint == fingerprint:
            return before
        recognizer = self._read(folder.path)
        _warm_up(recognizer)
        if folder.fingerprint() != fingerprint:
            raise BundleError(
                "the bundle changed while it was read",
                where=str(folder.path),
                remedy="load again when it is complete",
            )
        return ServedModel(
            folder.name, recognizer, fingerprint, self._make_batcher(_compute(recognizer))
        )


def _compute(recognizer: Recognizer) -> Compute:
    def compute(waveforms: Sequence[PreparedWaveform]) -> list[Tensor]:
        log_probs, lengths = recognizer.log_probs(waveforms)  # (B, T, V), (B,)
        return [log_probs[b, :length] for b, length in enumerate(lengths.tolist())]

    return compute


def _warm_up(recognizer: Recognizer) -> None:
    """Recognise a second of faint noise: the first call would find everything slow.

    By beam search as well, which is compiled where it has not been compiled before.
    """
    count = int(WARM_UP_SECONDS * recognizer.sample_rate)
    noise = np.random.default_rng(0).normal(scale=1e-3, size=count).astype(np.float32)
    for options in (None, BeamOptions()):
        decoder = recognizer.decoder(options)
        recognizer.recognize([Waveform(noise, recognizer.sample_rate)], decoder)


def _changes(before: Mapping[str, ServedModel], after: Mapping[str, ServedModel]) -> list[str]:
    """The difference, a line a model."""
    changes = [f"{name}: gone" for name in before if name not in after]
    for name, model in after.items():
        if name not in before:
            changes.append(f"{name}: new")
        elif before[name] is not model:
            changes.append(f"{name}: exchanged")
    return sorted(changes)
