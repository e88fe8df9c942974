"""A thousand damaged bundles: each is refused as one, or is the same model to the bit."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from asr.bundle import Bundle, load_bundle
from asr.types import AsrError, BundleError

FILES = ("config.json", "model.safetensors", "tokens.txt")
# Values that a configuration may be given in place of its own.
STRANGERS = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, 1e-320),
    *("", "x", "../../etc/passwd", "\ud800", "a" * 10_000, [], [1], {}, {"a": 1}, [[]] * 100),
)


def injure_bytes(folder: Path, rng: random.Random) -> str:
    """Flip, cut, add or repeat bytes of one file; the name of what was done."""
    path = folder / rng.choice(FILES)
    data = bytearray(path.read_bytes())
    # Half of the injuries hit the beginning, where the header of the weights is.
    end = min(len(data), 200) if rng.random() < 0.5 else len(data)
    place, span = rng.randrange(end), rng.randint(1, 64)
    kind = rng.choice(["flip", "byte", "cut", "insert", "delete", "zero", "repeat"])
    if kind == "flip":
        data[place] ^= 1 << rng.randrange(8)
    elif kind == "byte":
        data[place] = rng.randrange(256)
    elif kind == "cut":
        del data[place:]
    elif kind == "insert":
        data[place:place] = rng.randbytes(span)
    elif kind == "delete":
        del data[place : place + span]
    elif kind == "zero":
        data[place : place + span] = bytes(span)
    else:
        data[place:place] = data[place : place + span]
    path.write_bytes(data)
    return f"{kind} at {place} of {path.name}"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value within a JSON value."""
    if path:
        yield path
    for key in value if isinstance(value, dict) else range(len(value) if _is_list(value) else 0):
        yield from places(value[key], (*path, key))


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def injure_values(folder: Path, rng: random.Random) -> str:
    """Replace or remove a value of the configuration, or add one."""
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    section = rng.choice(sorted(config))  # first, for the golden output has the most values
    *way, key = rng.choice([way for way in places(config) if way[0] == section])
    inner = config
    for step in way:
        inner = inner[step]
    kind, value = rng.choice(["replace", "replace", "replace", "remove", "add"]), None
    if kind == "remove":
        del inner[key]
    else:
        value = rng.choice(STRANGERS)
        if kind == "add" and isinstance(inner, dict):
            key = f"{key}x"
        inner[key] = value
    path.write_text(json.dumps(config), "utf-8")
    return f"{kind} {[*way, key]} {value!r:.40}"


def injure_weights(folder: Path, rng: random.Random) -> str:
    """A value that is no number in the weights, with the checksum mended by a careful hand."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = rng.choice(sorted(tensors))
    value = rng.choice([float("nan"), float("inf"), -float("inf")])
    flat = tensors[name].view(-1)
    flat[rng.randrange(len(flat))] = value
    save_file(tensors, path)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["checksums"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return f"{value} in {name}"


INJURIES = (injure_bytes, injure_bytes, injure_values, injure_values, injure_weights)


def outputs(bundle: Bundle, samples: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        batch, lengths = torch.from_numpy(samples)[None], torch.tensor([len(samples)])
        return bundle.model(*bundle.extractor(batch, lengths))  # (1, T, V)


class Listener:
    """Hears what its maker's thread asks Python to compile, run or start.

    Other tests may have left threads in this process, such as a server that frees memory.
    """

    EVENTS = ("exec", "compile", "os.system", "subprocess.Popen", "pickle.find_class", "ctypes.")

    def __init__(self) -> None:
        self.is_open = False
        self.heard: list[str] = []
        self._thread = threading.get_ident()
        sys.addaudithook(self._hear)  # for ever; it hears nothing while closed

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        here = self.is_open and threading.get_ident() == self._thread
        if here and event.startswith(self.EVENTS):
            self.heard.append(f"{event} {arguments!r:.200}")


def load(folder: Path) -> Bundle | AsrError:
    try:
        return load_bundle(folder)
    except AsrError as error:
        return error


@pytest.mark.parametrize("count", [250, pytest.param(1_000, marks=pytest.mark.slow)])
def test_a_damaged_bundle_is_refused_or_the_same(tiny_bundle_path, waveform_of, tmp_path, count):
    samples = waveform_of(1, 0.5).samples
    original = load_bundle(tiny_bundle_path)
    expected = outputs(original, samples)
    listener = Listener()
    refused = 0
    for index in range(count):
        rng = random.Random(f"bundle {index}")
        folder = Path(shutil.copytree(tiny_bundle_path, tmp_path / "bundle"))
        injure = INJURIES[index % len(INJURIES)]
        name = f"{index}: {injure(folder, rng)}"
        listener.is_open = True
        found = load(folder)
        listener.is_open = False
        if isinstance(found, AsrError):
            refused += 1
            assert isinstance(found, BundleError), name
            assert found.remedy, name
            assert str(folder) not in found.public_message(), name
        else:
            assert injure is not injure_weights, name
            assert found.tokenizer.tokens == original.tokenizer.tokens, name
            assert torch.equal(outputs(found, samples), expected), name
        shutil.rmtree(folder)
    assert listener.heard == [], "no code of the bundle is run"
    assert 0.7 * count < refused < 0.99 * count, "metadata and names may be others"
