"""The models that calls can ask for: found, loaded, warmed up, exchanged while serving."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import grpc
import numpy as np
import torch
from torch import Tensor

from asr.bundle.contents import CONFIG
from asr.decoding import BeamOptions
from asr.nn.chunks import Chunking
from asr.recognizer import PreparedWaveform, Recognizer
from asr.stream import Streamer
from asr.types import AsrError, BundleError, ConfigError, Waveform
from server.engine.batching import Batcher
from server.errors import Refusal

__all__ = [
    "BundleFolder",
    "Loaded",
    "ModelSource",
    "Models",
    "Repository",
    "ServedModel",
    "SingleBundle",
]

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
    _streamers: dict[Chunking, Streamer] = field(default_factory=dict)

    def streamer(self, chunking: Chunking) -> Streamer:
        """What reads live streams, the same one for all of the same ``chunking``.

        Raises:
            ConfigError: the model cannot be run by chunks.
        """
        if chunking not in self._streamers:
            self._streamers[chunking] = self.recognizer.streamer(chunking)
        return self._streamers[chunking]


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
        return [_folder_at(self.path)]


@dataclass(frozen=True)
class Repository:
    """A folder of bundles, each named as its folder is. Those with a dot before are left out."""

    path: Path
    default: str | None = None

    def find(self) -> list[BundleFolder]:
        """See :class:`ModelSource`."""
        try:
            folders = sorted(entry for entry in self.path.iterdir() if _may_be_bundle(entry))
        except OSError as error:
            raise ConfigError(
                f"the model repository cannot be read: {error.strerror}",
                where=str(self.path),
                remedy="give a folder whose folders are bundles",
            ) from None
        if not folders:
            raise ConfigError(
                "the model repository holds no bundles",
                where=str(self.path),
                remedy="give a folder whose folders are bundles",
            )
        return [_folder_at(folder) for folder in folders]


def _folder_at(path: Path) -> BundleFolder:
    """The bundle there. A link gives it its own name; where it leads is asked once, so that all of
    a bundle is read from one folder.
    """
    return BundleFolder(Path(os.path.abspath(path)).name, Path(os.path.realpath(path)))


def _may_be_bundle(entry: Path) -> bool:
    """A folder, or a link to one, even if it is being exchanged and leads nowhere for now."""
    is_folder = entry.is_dir() or (entry.is_symlink() and not entry.exists())
    return is_folder and not entry.name.startswith(".")


@dataclass(frozen=True)
class Loaded:
    """What loading has come to: the models that changed, in words, and the names of those that
    could not be loaded."""

    changes: list[str]
    failed: list[str]


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

    def load(self) -> Loaded:
        """Read and warm up every bundle that is new or has changed, then put them into service.

        One that cannot be loaded keeps no other out: it stays as it was if it is in service, and
        else is passed over. The log says why. This takes seconds and blocks: it is for a thread.

        Raises:
            AsrError: the source cannot be used, it has no bundle that can be loaded, or the default
                model is none of those that can.
        """
        folders, service = self._source.find(), self._service
        models: dict[str, ServedModel] = {}
        errors: dict[str, Exception] = {}
        for folder in folders:
            try:
                models[folder.name] = self._ready(folder)
            except Exception as error:  # a defect, or a library's that meets a strange file, too
                errors[folder.name] = error
                if folder.name in service.models:
                    models[folder.name] = service.models[folder.name]
        if models or len(folders) > 1:  # else the error below says it all
            _report(errors, service.models)
        default = self._source.default or (next(iter(models)) if len(models) == 1 else "")
        _check_default(default, models, errors)
        self._service = _Service(models, default)
        # What has no configuration is no bundle, and passing over it is no failure.
        tried = {folder.name for folder in folders if folder.fingerprint()}
        failed = [name for name in errors if name in tried or name in models]
        return Loaded(_changes(service.models, models), failed)

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


def _check_default(
    default: str, models: Mapping[str, ServedModel], errors: Mapping[str, Exception]
) -> None:
    """There is a model, and the default is one; else raise what kept it out."""
    if not models or (default in errors and default not in models):
        raise errors.get(default) or next(iter(errors.values()))
    if default and default not in models:
        raise ConfigError(
            f"there is no bundle {default!r} to be the default model",
            remedy=f"choose one of {', '.join(models)}",
        )


def _report(errors: Mapping[str, Exception], before: Mapping[str, ServedModel]) -> None:
    """Why the bundles of these names could not be loaded."""
    for name, error in errors.items():
        traceback = None if isinstance(error, AsrError) else error
        if name in before:
            text = "model %s is not reloaded, the old one stays: %s"
            log.error(text, name, error, exc_info=traceback)
        else:
            log.warning("%s is passed over: %s", name, error, exc_info=traceback)


def _warm_up(recognizer: Recognizer) -> None:
    """Recognise a second of faint noise: the first call would find everything slow.

    By beam search as well, which is compiled where it has not been compiled before, and by chunks
    where the model can be read so.
    """
    count = int(WARM_UP_SECONDS * recognizer.sample_rate)
    noise = np.random.default_rng(0).normal(scale=1e-3, size=count).astype(np.float32)
    for options in (None, BeamOptions()):
        decoder = recognizer.decoder(options)
        recognizer.recognize([Waveform(noise, recognizer.sample_rate)], decoder)
    if recognizer.can_stream:
        streamer = recognizer.streamer(Chunking(1, 0))
        session = streamer.begin()
        session.push(torch.from_numpy(noise))
        while streamer.is_ready(session):
            streamer.step([session])


def _changes(before: Mapping[str, ServedModel], after: Mapping[str, ServedModel]) -> list[str]:
    """The difference, a line a model."""
    changes = [f"{name}: gone" for name in before if name not in after]
    for name, model in after.items():
        if name not in before:
            changes.append(f"{name}: new")
        elif before[name] is not model:
            changes.append(f"{name}: exchanged")
    return sorted(changes)
