"""Writes a bundle: whole or not at all."""

from __future__ import annotations

import copy
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from asr import __version__
from asr.bundle.contents import (
    CALIBRATION,
    CONFIG,
    FORMAT,
    FORMAT_VERSION,
    LANGUAGE,
    LEXICON,
    LM_FILES,
    PRIORS,
    STREAMING,
    TOKENS,
    WEIGHTS,
    Bundle,
    check_finite,
    check_sizes,
    checksum_of,
    parts_of,
)
from asr.bundle.golden import compute_golden
from asr.decoding import plain_values
from asr.files.write import replace_folder, write_text
from asr.nn.kernels import AUTO
from asr.types import BundleError

__all__ = ["check_place", "save_bundle"]

OWN = {CONFIG, WEIGHTS, TOKENS, *LM_FILES, LEXICON}  # a bundle's own files
LIBRARIES = ("torch", "torchaudio", "librosa", "numpy")


def save_bundle(
    bundle: Bundle,
    path: str | os.PathLike[str],
    *,
    changed_from: str | os.PathLike[str] | None = None,
) -> None:
    """Write ``bundle`` as the folder ``path``, replacing a bundle that stands there.

    The folder appears whole or not at all: it is written beside its place and renamed.

    Args:
        bundle: what is written.
        path: where.
        changed_from: the folder of the bundle that this one was read from. What else lies there, a
            model card, licences, samples, is copied with it.

    Raises:
        BundleError: the parts do not fit each other, a weight is not finite, the metadata are not
            JSON, ``path`` is something other than a bundle, or the disk refuses.
    """
    target = Path(path).absolute()
    check_place(target, changed_from)
    extractor = copy.deepcopy(bundle.extractor).cpu().float().eval()
    model = copy.deepcopy(bundle.model).cpu().float().eval()
    if bundle.half:
        model = model.half().float()  # the weights that a reader gets
    bundle = replace(bundle, extractor=extractor, model=model)
    check_sizes(bundle, where=bundle.name)
    weights = _weights(bundle)
    check_finite(weights, bundle.name, remedy="training diverged; take an earlier checkpoint")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder(target) as draft:
            _write_files(bundle, weights, draft)
            if changed_from is not None:
                _copy_companions(Path(changed_from), draft)
    except OSError as error:
        raise BundleError(
            f"the bundle cannot be written: {error.strerror or error}",
            where=str(path),
            remedy="choose a folder you may write to, with space left",
        ) from None


def _write_files(bundle: Bundle, weights: dict[str, Tensor], folder: Path) -> None:
    save_file(weights, folder / WEIGHTS)
    bundle.tokenizer.save(folder / TOKENS)
    units = None if bundle.language is None else bundle.language.save(folder)
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": bundle.name,
        "features": bundle.extractor.config.to_dict(),
        # Which kernel is fastest depends on where the bundle runs, not on where it was trained.
        "model": {**bundle.model.config.to_dict(), "kernel": AUTO},
        "decoder": plain_values(bundle.decoder),
        "versions": _versions(),
        "metadata": bundle.metadata,
        "checksums": {path.name: checksum_of(path) for path in sorted(folder.iterdir())},
        "golden": compute_golden(bundle.extractor, bundle.model),
        **({} if units is None else {LANGUAGE: {"units": units}}),
    }
    if bundle.streaming is not None:
        config[STREAMING] = asdict(bundle.streaming)
    if bundle.priors is not None:
        logs = [round(value, 5) for value in bundle.priors.log_priors]
        config[PRIORS] = {"log_priors": logs}
    if bundle.calibrations:
        config[CALIBRATION] = {name: asdict(own) for name, own in bundle.calibrations.items()}
    sections = [f"{json.dumps(key)}: {_to_json(key, value)}" for key, value in config.items()]
    text = "{\n" + ",\n".join(sections) + "\n}\n"  # a line a section, for people who look
    write_text(folder / CONFIG, text)


def _to_json(key: str, value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"the bundle's {key} are not JSON: {error}",
            remedy="give texts, finite numbers, lists and dictionaries",
        ) from None


def _copy_companions(source: Path, folder: Path) -> None:
    """Copy what lies in the bundle ``source`` and is no part of it."""

    def left_out(place: str, names: list[str]) -> set[str]:
        return OWN & set(names) if Path(place) == source else set()

    shutil.copytree(source, folder, symlinks=True, ignore=left_out, dirs_exist_ok=True)


def check_place(target: Path, changed_from: str | os.PathLike[str] | None = None) -> None:
    """Refuse to replace anything but a bundle, an empty folder, or the bundle that is changed.

    Beside a bundle may lie what lies beside ``changed_from``: it was copied from there.

    Raises:
        BundleError: something else stands there, or the place is within ``changed_from``.
    """
    allowed = OWN
    if changed_from is not None:
        place, source = Path(os.path.realpath(target)), Path(os.path.realpath(changed_from))
        if source in place.parents:
            raise BundleError(
                "this is within the bundle that is changed",
                where=str(target),
                remedy="choose a place outside of it",
            )
        if place == source:
            return
        allowed = OWN | set(os.listdir(source))
    if not target.exists():
        return
    strangers: list[str] = []
    if target.is_dir():
        entries = {entry.name for entry in target.iterdir()}
        strangers = sorted(entries - allowed)
        if not entries or (CONFIG in entries and not strangers):
            return
    raise BundleError(
        "something other than a bundle stands there"
        + (f", with {strangers[0]} in it" if strangers else ""),
        where=str(target),
        remedy="choose another place, or remove it yourself",
    )


def _versions() -> dict[str, str]:
    versions = {"peephole-asr": __version__}
    for library in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[library] = metadata.version(library)
    return versions


def _weights(bundle: Bundle) -> dict[str, Tensor]:
    """The tensors of both modules under one name each, e.g. ``model.output.bias``."""
    types = {"model": torch.float16} if bundle.half else {}
    return {
        f"{part}.{name}": tensor.detach().clone().contiguous().to(types.get(part, tensor.dtype))
        for part, module in parts_of(bundle).items()
        for name, tensor in module.state_dict().items()
    }
