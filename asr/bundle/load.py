"""Reads a bundle, and believes nothing of it that it can check."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from asr.bundle.contents import (
    CALIBRATION,
    CONFIG,
    FORMAT,
    FORMAT_VERSION,
    LANGUAGE,
    LEXICON,
    LM_FILES,
    PRIORS,
    SECTIONS,
    STREAMING,
    TOKENS,
    WEIGHTS,
    Bundle,
    check_finite,
    check_sizes,
    checksum_of,
    parts_of,
)
from asr.bundle.golden import compute_golden, find_difference
from asr.bundle.streaming import read_streaming
from asr.calibration import read_calibrations
from asr.decoding import DecoderOptions, Priors, read_options
from asr.device import select_device
from asr.features import FeatureConfig, FeatureExtractor
from asr.nn.model import AcousticModel, AcousticModelConfig
from asr.options import from_values
from asr.tokens import Tokenizer
from asr.types import AsrError, BundleError, ConfigError, MissingPackageError

if TYPE_CHECKING:
    from asr.decoding.beam.language import Language

__all__ = ["load_bundle"]

KEYS = ("format", "format_version", "name", *SECTIONS)
OPTIONAL = (LANGUAGE, CALIBRATION, STREAMING, PRIORS)
RENEW = "copy the bundle again from its source, or export it anew"

T = TypeVar("T")


def load_bundle(
    path: str | os.PathLike[str],
    device: str = "cpu",
    *,
    uses_language: Callable[[DecoderOptions], bool] = lambda decoder: True,
    keep_language: bool = False,
) -> Bundle:
    """Read, check and ready the bundle in the folder ``path``, in evaluation mode on ``device``.

    The golden input is run on the CPU, whose arithmetic the recorded output came from.
    ``uses_language`` is told the bundle's decoder. Where it says no, language model and lexicon are
    compared with their checksums and not read, which takes longer than all the rest; the bundle
    that is returned has none. With ``keep_language``, made ready they are kept beside compiled code
    and taken from there the next time, for programs that begin anew for a file or two.

    Raises:
        BundleError: a file is missing, damaged, of a newer format or does not fit the others, or
            this program makes other features or log-probabilities than the one that saved it.
        MissingPackageError: its front end needs a package that is not installed.
        ConfigError: there is no such device here.
    """
    place = select_device(device)
    if not os.fspath(path):
        raise BundleError("the name of the bundle is empty", remedy="give its folder")
    folder = Path(path)
    _check_files(folder)
    config = _read_config(folder / CONFIG)
    where = str(folder / CONFIG)
    bundle = Bundle(
        extractor=_build(_extractor, config["features"], where, "features"),
        model=_build(_model, config["model"], where, "model"),
        tokenizer=_read_tokens(folder / TOKENS),
        decoder=_build(read_options, config["decoder"], where, "decoder"),
        name=str(config["name"]),
        metadata=config["metadata"],
        streaming=_build(read_streaming, config[STREAMING], where, STREAMING)
        if STREAMING in config
        else None,
        priors=_build(_priors, config[PRIORS], where, PRIORS) if PRIORS in config else None,
        calibrations=_build(read_calibrations, config.get(CALIBRATION, {}), where, "calibration"),
    )
    check_sizes(bundle, where=str(folder))
    bundle = _with_weights(bundle, folder / WEIGHTS)
    _check_checksums(folder, config["checksums"])
    files = _language_files(config, folder)
    if files and uses_language(bundle.decoder):
        bundle = replace(
            bundle, language=_read_language(bundle.tokenizer, config, files, keep_language)
        )
    _check_golden(bundle, config, folder)
    bundle.extractor.to(place)
    bundle.model.to(place)
    return bundle


def _check_files(folder: Path) -> None:
    """The files are there and may be read: what reads them later says less of it."""
    place = folder
    try:
        os.stat(os.path.join(folder, "."))  # an error for a file and for a folder closed to us
        for name in (CONFIG, WEIGHTS, TOKENS, *LM_FILES, LEXICON):
            place = folder / name
            if place.is_file():
                place.open("rb").close()
            elif name in (CONFIG, WEIGHTS, TOKENS):
                raise BundleError(f"the bundle has no {name}", where=str(folder), remedy=RENEW)
    except (FileNotFoundError, NotADirectoryError):
        what = "this is a file, not a bundle's folder" if folder.exists() else "no such bundle"
        raise BundleError(
            what, where=str(folder), remedy="give the folder that the recipe's export wrote"
        ) from None
    except OSError as error:
        raise _unreadable(place, error) from None


def _read_config(path: Path) -> dict[str, Any]:
    """The configuration as a dictionary with all keys, its version and sections checked."""
    where = str(path)
    try:
        config = json.loads(path.read_bytes())
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, RecursionError) as error:
        raise BundleError(f"this is not JSON: {error}", where=where, remedy=RENEW) from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise BundleError("this is not a bundle's configuration", where=where, remedy=RENEW)
    _check_version(config.get("format_version"), where)
    if "metadata" not in config and "facts" in config:  # their name in earlier bundles
        config["metadata"] = config.pop("facts")
    missing = [key for key in KEYS if key not in config]
    unknown = sorted(set(config) - {*KEYS, *OPTIONAL})
    if missing or unknown:
        fault = f"key {missing[0]!r} is missing" if missing else f"key {unknown[0]!r} is unknown"
        raise BundleError(fault, where=where, remedy=RENEW)
    for key in (*SECTIONS, *(set(OPTIONAL) & set(config))):
        if not isinstance(config[key], dict):
            raise BundleError(f"{key!r} is not an object", where=where, remedy=RENEW)
    return config


def _check_version(version: object, where: str) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BundleError(f"format version {version!r} is none", where=where, remedy=RENEW)
    if version > FORMAT_VERSION:
        raise BundleError(
            f"the bundle has format {version}; this program reads up to {FORMAT_VERSION}",
            where=where,
            remedy="upgrade peephole-asr",
        )


def _extractor(values: dict[str, Any]) -> FeatureExtractor:
    return FeatureExtractor(FeatureConfig.from_dict(values)).eval()


def _model(values: dict[str, Any]) -> AcousticModel:
    """The model without memory for its weights: a wrong size must fail before it allocates."""
    config = AcousticModelConfig.from_dict(values)
    with torch.device("meta"):
        return AcousticModel(config).eval()


def _priors(values: dict[str, Any]) -> Priors:
    return from_values(Priors, values, "priors", ConfigError)


def _build(make: Callable[[dict[str, Any]], T], values: dict[str, Any], where: str, key: str) -> T:
    try:
        return make(values)
    except MissingPackageError as error:  # of this machine, not of the bundle
        raise error.at(where) from None
    except AsrError as error:
        raise BundleError(f"{key!r}: {error}", where=where, remedy=RENEW) from None
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise BundleError(
            f"{key!r} has values that cannot be: {error}", where=where, remedy=RENEW
        ) from None


def _read_tokens(path: Path) -> Tokenizer:
    try:
        return Tokenizer.load(path)
    except AsrError as error:
        raise BundleError(error.what, where=str(path), remedy=RENEW) from None


def _with_weights(bundle: Bundle, path: Path) -> Bundle:
    """``bundle`` with its modules filled from the file, on the CPU."""
    try:
        found = load(path.read_bytes())  # safetensors opens no name that is not UTF-8
    except SafetensorError as error:
        raise BundleError(
            f"the weights are damaged: {error}", where=str(path), remedy=RENEW
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from None
    _check_shapes(found, parts_of(bundle), str(path))
    check_finite(found, str(path), remedy=RENEW)
    model = AcousticModel(bundle.model.config).eval()  # its size is now known to fit the file
    half = any(tensor.dtype == torch.float16 for tensor in found.values())
    bundle = replace(bundle, model=model, half=half)
    for part, module in parts_of(bundle).items():
        module.load_state_dict({name: found[f"{part}.{name}"] for name in module.state_dict()})
        module.requires_grad_(False)
    return bundle


def _check_shapes(found: Mapping[str, Tensor], parts: dict[str, nn.Module], where: str) -> None:
    expected = {
        f"{part}.{name}": tuple(tensor.shape)
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }
    for name, shape in expected.items():
        if name not in found:
            raise BundleError(f"the weights {name} are missing", where=where, remedy=RENEW)
        if tuple(found[name].shape) != shape:
            raise BundleError(
                f"{name} has shape {tuple(found[name].shape)}, {CONFIG} asks for {shape}",
                where=where,
                remedy=RENEW,
            )
    if unknown := sorted(set(found) - set(expected)):
        raise BundleError(f"the weights {unknown[0]} are unknown", where=where, remedy=RENEW)


def _check_checksums(folder: Path, checksums: dict[str, Any]) -> None:
    for name in (WEIGHTS, TOKENS, *sorted(set(checksums) - {WEIGHTS, TOKENS})):
        if name not in (WEIGHTS, TOKENS, *LM_FILES, LEXICON):
            raise BundleError(
                f"the checksum of {name!r} is that of no file of a bundle",
                where=str(folder / CONFIG),
                remedy=RENEW,
            )
        if not (folder / name).is_file():
            raise BundleError(f"the bundle has no {name}", where=str(folder), remedy=RENEW)
        if checksums.get(name) != checksum_of(folder / name):
            raise BundleError(
                f"the file is not the one that was saved: its SHA-256 is not that in {CONFIG}",
                where=str(folder / name),
                remedy=RENEW,
            )


def _language_files(config: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Where the language model and the lexicon are, by their names in a bundle, as far as there are
    any; every file must be accounted for."""
    found = [name for name in (*LM_FILES, LEXICON) if (folder / name).exists()]
    for name in found:
        if name not in config["checksums"]:
            raise BundleError(
                f"{CONFIG} does not know of this file", where=str(folder / name), remedy=RENEW
            )
    models = [name for name in found if name in LM_FILES]
    if len(models) > 1:
        raise BundleError(f"two language models: {', '.join(models)}", where=str(folder))
    if bool(found) != (LANGUAGE in config):
        raise BundleError(
            f"{CONFIG} and the files do not agree on whether there is a language model",
            where=str(folder),
            remedy=RENEW,
        )
    return {name: folder / name for name in found}


def _read_language(
    tokenizer: Tokenizer, config: dict[str, Any], files: Mapping[str, Path], keep: bool
) -> Language:
    from asr.decoding.beam.language import Language  # with the compiler, which others do without

    lm = next((path for name, path in files.items() if name in LM_FILES), None)
    units = config[LANGUAGE].get("units", "words")
    try:
        return Language.load(tokenizer, lm, files.get(LEXICON), units, keep=keep)
    except AsrError as error:
        where = error.where or str(next(iter(files.values())).parent)
        raise BundleError(error.what, where=where, remedy=RENEW) from None


def _check_golden(bundle: Bundle, config: dict[str, Any], folder: Path) -> None:
    try:
        fault = find_difference(config["golden"], compute_golden(bundle.extractor, bundle.model))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise BundleError(
            "the golden output is damaged", where=str(folder / CONFIG), remedy=RENEW
        ) from None
    if fault:
        made_with = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
        raise BundleError(
            f"this program does not reproduce the bundle's check: {fault}",
            where=str(folder / CONFIG),
            remedy=f"install what it was made with ({made_with}), or export it anew",
        )


def _unreadable(path: Path, error: OSError) -> BundleError:
    if isinstance(error, PermissionError):
        return BundleError(
            f"cannot be read: {error.strerror}, uid {os.geteuid()}",
            where=str(path),
            remedy="let that user read it, and enter the folders above it: chmod -R a+rX",
        )
    return BundleError(
        f"the file cannot be read: {error.strerror or error}", where=str(path), remedy=RENEW
    )
