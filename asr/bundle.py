"""The model on disk: a folder with all that turns audio into text, and nothing executable.

``config.json``        features, model, decoder defaults, versions, training facts, checks
``model.safetensors``  weights of the model and statistics of the front end
``tokens.txt``         the vocabulary
``lm.arpa.gz``         a language model, if there is one; ``lm.arpa`` is read too
``lexicon.txt``        the words that may be said, if they are not the language model's
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from asr import __version__
from asr.decoding import DecoderConfig
from asr.features import FeatureConfig, FeatureExtractor
from asr.golden import compute_golden, find_difference
from asr.nn.model import AcousticModel, AcousticModelConfig
from asr.tokens import Tokenizer
from asr.types import AsrError, BundleError, ConfigError

if TYPE_CHECKING:
    from asr.decoding.beam.language import Language

__all__ = ["FORMAT_VERSION", "Bundle", "load_bundle", "save_bundle", "select_device"]

FORMAT = "peephole-asr bundle"
FORMAT_VERSION = 1
CONFIG, WEIGHTS, TOKENS = "config.json", "model.safetensors", "tokens.txt"
LM_FILES, LEXICON = ("lm.arpa.gz", "lm.arpa"), "lexicon.txt"
LANGUAGE = "language"  # the key that bundles with a language model or a lexicon have
SECTIONS = ("features", "model", "decoder", "versions", "facts", "checksums", "golden")
KEYS = ("format", "format_version", "name", *SECTIONS)
LIBRARIES = ("torch", "torchaudio", "librosa", "numpy")
RENEW = "copy the bundle again from its source, or export it anew"

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Bundle:
    """All that turns audio into text.

    ``facts`` are JSON values about the training (corpus, error rates, commands), for people.
    ``language`` is what beam search knows beside the sound, unless ``decoder`` weights it by 0.
    """

    extractor: FeatureExtractor
    model: AcousticModel
    tokenizer: Tokenizer
    decoder: DecoderConfig
    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    language: Language | None = None


def select_device(name: str) -> torch.device:
    """The device called ``name`` ("cpu", "cuda", "cuda:1").

    Raises:
        ConfigError: there is no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"unknown device {name!r}", remedy="choose cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r} is not supported", remedy="choose cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device {name!r} is not here: torch sees {torch.cuda.device_count()} CUDA devices",
            remedy="choose cpu, or install a CUDA build of torch and its driver",
        )
    return device


# Saving


def save_bundle(bundle: Bundle, path: str | os.PathLike[str]) -> None:
    """Write ``bundle`` as the folder ``path``, replacing a bundle that stands there.

    The folder appears whole or not at all: it is written beside its place and renamed.

    Raises:
        BundleError: the parts do not fit each other, a weight is not finite, the facts are not
            JSON, ``path`` is something other than a bundle, or the disk refuses.
    """
    target = Path(path).absolute()
    _check_place(target)
    extractor = copy.deepcopy(bundle.extractor).cpu().float().eval()
    model = copy.deepcopy(bundle.model).cpu().float().eval()
    bundle = replace(bundle, extractor=extractor, model=model)
    _check_sizes(bundle, where=bundle.name)
    weights = _weights(bundle)
    _check_finite(weights, bundle.name, remedy="training diverged; take an earlier checkpoint")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            _write_files(bundle, weights, draft)
            draft.chmod(0o755)  # mkdtemp makes it private
            _move_into_place(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
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
        "model": replace(bundle.model.config, kernel="auto").to_dict(),
        "decoder": bundle.decoder.to_dict(),
        "versions": _versions(),
        "facts": bundle.facts,
        "checksums": {path.name: _checksum(path) for path in sorted(folder.iterdir())},
        "golden": compute_golden(bundle.extractor, bundle.model),
        **({} if units is None else {LANGUAGE: {"units": units}}),
    }
    sections = [f"{json.dumps(key)}: {_to_json(key, value)}" for key, value in config.items()]
    text = "{\n" + ",\n".join(sections) + "\n}\n"  # a line a section, for people who look
    (folder / CONFIG).write_text(text, encoding="utf-8")


def _to_json(key: str, value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"the bundle's {key} are not JSON: {error}",
            remedy="give texts, finite numbers, lists and dictionaries",
        ) from None


def _check_place(target: Path) -> None:
    """Refuse to replace anything but a bundle or an empty folder."""
    if not target.exists():
        return
    if target.is_dir() and ((target / CONFIG).exists() or not any(target.iterdir())):
        own = {CONFIG, WEIGHTS, TOKENS, *LM_FILES, LEXICON}
        strangers = {entry.name for entry in target.iterdir()} - own
        if not strangers:
            return
    raise BundleError(
        "something other than a bundle stands there",
        where=str(target),
        remedy="choose another place, or remove it yourself",
    )


def _move_into_place(draft: Path, target: Path) -> None:
    """Rename ``draft`` to ``target``; what stood there is put back should that fail."""
    if not target.exists():
        draft.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(old)  # onto an empty folder, which POSIX allows
    try:
        draft.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _versions() -> dict[str, str]:
    versions = {"peephole-asr": __version__}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = "unknown"
    return versions


def _parts(bundle: Bundle) -> dict[str, nn.Module]:
    return {"extractor": bundle.extractor, "model": bundle.model}


def _weights(bundle: Bundle) -> dict[str, Tensor]:
    """The tensors of both modules under one name each, e.g. ``model.output.bias``."""
    return {
        f"{part}.{name}": tensor.detach().clone().contiguous()
        for part, module in _parts(bundle).items()
        for name, tensor in module.state_dict().items()
    }


# Loading


def load_bundle(path: str | os.PathLike[str], device: str = "cpu") -> Bundle:
    """Read, check and ready the bundle in the folder ``path``, in evaluation mode on ``device``.

    The golden input is run on the CPU, whose arithmetic the recorded output came from.

    Raises:
        BundleError: a file is missing, damaged, of a newer format or does not fit the others, or
            this program makes other features or log-probabilities than the one that saved it.
        ConfigError: there is no such device here.
    """
    place = select_device(device)
    folder = Path(path)
    _check_files(folder)
    config = _read_config(folder / CONFIG)
    where = str(folder / CONFIG)
    bundle = Bundle(
        extractor=_build(_extractor, config["features"], where, "features"),
        model=_build(_model, config["model"], where, "model"),
        tokenizer=_read_tokens(folder / TOKENS),
        decoder=_build(DecoderConfig.from_dict, config["decoder"], where, "decoder"),
        name=str(config["name"]),
        facts=config["facts"],
    )
    _check_sizes(bundle, where=str(folder))
    bundle = _with_weights(bundle, folder / WEIGHTS)
    _check_checksums(folder, config["checksums"])
    bundle = replace(bundle, language=_read_language(bundle.tokenizer, config, folder))
    _check_golden(bundle, config, folder)
    bundle.extractor.to(place)
    bundle.model.to(place)
    return bundle


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        what = "this is a file, not a bundle's folder" if folder.exists() else "no such bundle"
        raise BundleError(
            what, where=str(folder), remedy="give the folder that the recipe's export wrote"
        )
    for name in (CONFIG, WEIGHTS, TOKENS):
        if not (folder / name).is_file():
            raise BundleError(f"the bundle has no {name}", where=str(folder), remedy=RENEW)


def _read_config(path: Path) -> dict[str, Any]:
    """The configuration as a dictionary with all keys, its version and sections checked."""
    where = str(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, RecursionError) as error:
        raise BundleError(f"this is not JSON: {error}", where=where, remedy=RENEW) from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise BundleError("this is not a bundle's configuration", where=where, remedy=RENEW)
    _check_version(config.get("format_version"), where)
    missing = [key for key in KEYS if key not in config]
    unknown = sorted(set(config) - {*KEYS, LANGUAGE})
    if missing or unknown:
        fault = f"key {missing[0]!r} is missing" if missing else f"key {unknown[0]!r} is unknown"
        raise BundleError(fault, where=where, remedy=RENEW)
    for key in (*SECTIONS, *({LANGUAGE} & set(config))):
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


def _build(make: Callable[[dict[str, Any]], T], values: dict[str, Any], where: str, key: str) -> T:
    try:
        return make(values)
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
    except UnicodeDecodeError:
        raise BundleError("this is not UTF-8 text", where=str(path), remedy=RENEW) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _check_sizes(bundle: Bundle, where: str) -> None:
    """The front end, the model and the vocabulary must meet."""
    config = bundle.model.config
    if config.input_size != bundle.extractor.config.size:
        raise BundleError(
            f"the model takes {config.input_size} features a frame, "
            f"the front end gives {bundle.extractor.config.size}",
            where=where,
            remedy="use the features the model was trained with",
        )
    if config.vocab_size != bundle.tokenizer.size:
        raise BundleError(
            f"the model has {config.vocab_size} outputs, {TOKENS} has {bundle.tokenizer.size}",
            where=where,
            remedy="use the vocabulary the model was trained with",
        )


def _with_weights(bundle: Bundle, path: Path) -> Bundle:
    """``bundle`` with its modules filled from the file, on the CPU."""
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise BundleError(
            f"the weights are damaged: {error}", where=str(path), remedy=RENEW
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from None
    _check_shapes(found, _parts(bundle), str(path))
    _check_finite(found, str(path), remedy=RENEW)
    model = AcousticModel(bundle.model.config).eval()  # its size is now known to fit the file
    bundle = replace(bundle, model=model)
    for part, module in _parts(bundle).items():
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


def _check_finite(weights: Mapping[str, Tensor], where: str, remedy: str) -> None:
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise BundleError(
                f"{name} has values that are NaN or infinite", where=where, remedy=remedy
            )


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
        if checksums.get(name) != _checksum(folder / name):
            raise BundleError(
                f"the file is not the one that was saved: its SHA-256 is not that in {CONFIG}",
                where=str(folder / name),
                remedy=RENEW,
            )


def _read_language(tokenizer: Tokenizer, config: dict[str, Any], folder: Path) -> Language | None:
    """The language model and the lexicon, if there are any; every file must be accounted for."""
    found = [name for name in (*LM_FILES, LEXICON) if (folder / name).exists()]
    for name in found:
        if name not in config["checksums"]:
            raise BundleError(
                f"{CONFIG} does not know of this file", where=str(folder / name), remedy=RENEW
            )
    if len(found) > 1 and found[:2] == list(LM_FILES):
        raise BundleError(f"two language models: {', '.join(LM_FILES)}", where=str(folder))
    if bool(found) != (LANGUAGE in config):
        raise BundleError(
            f"{CONFIG} and the files do not agree on whether there is a language model",
            where=str(folder),
            remedy=RENEW,
        )
    if not found:
        return None
    from asr.decoding.beam.language import Language  # with the compiler, which others do without

    lm = next((folder / name for name in found if name in LM_FILES), None)
    lexicon = folder / LEXICON if LEXICON in found else None
    try:
        return Language.load(tokenizer, lm, lexicon, config[LANGUAGE].get("units", "words"))
    except AsrError as error:
        raise BundleError(error.what, where=error.where or str(folder), remedy=RENEW) from None


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_golden(bundle: Bundle, config: dict[str, Any], folder: Path) -> None:
    try:
        fault = find_difference(config["golden"], compute_golden(bundle.extractor, bundle.model))
    except (KeyError, TypeError, ValueError):
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
    return BundleError(
        f"the file cannot be read: {error.strerror or error}",
        where=str(path),
        remedy="check its permissions",
    )
