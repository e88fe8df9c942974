"""Imports point down only: the order of the house, read from the source of every module.

Imports inside functions, under ``TYPE_CHECKING``, relative ones and ``import_module("...")`` count.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("asr", "server", "recipes")

# Lowest first. A module may import its own layer and those below it. Names are relative to `asr`
# and cover everything inside a package; a new module fails the test until it has its place here.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("", "types"),
    ("files",),
    (
        *("options", "compiled", "device", "extras", "lanes", "machine", "quiet", "spinning"),
        "subwords",
    ),
    ("audio", "augment", "features", "gate", "itn", "tokens"),
    ("nn", "lm", "scoring"),
    ("decoding",),
    ("calibration",),
    ("bundle", "export", "stream"),
    ("backends", "live", "segmenter"),
    ("recognizer",),
    ("long", "plots", "transcribe"),
    ("jobs",),
    ("cli",),
    ("__main__",),
)
STRANGERS = (("nn", "decoding"), ("decoding", "nn"))  # they meet at log-probabilities

GRPC = ("grpc*",)
LIGHTNING = ("lightning*", "pytorch_lightning")
# What the packages may not import, ours or not, by first name.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "asr": ("server", "recipes", "tests", *GRPC, *LIGHTNING),
    "server": ("recipes", "tests", *LIGHTNING),
    "recipes": ("server", "tests", *GRPC),
}
SOUNDFILE_BELONGS_TO = "asr.audio.sndfile"


def house() -> dict[str, str]:
    """Source of all our modules by dotted name; a package by the name of its folder."""
    sources = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            sources[".".join(parts)] = path.read_text(encoding="utf-8")
    return sources


def violations(sources: Mapping[str, str]) -> list[str]:
    """Every breach of the rules in ``sources`` (``"asr.nn.__init__" -> code``), in words."""
    names = {name.removesuffix(".__init__") for name in sources}
    found: list[str] = []
    graph: dict[str, set[str]] = {}
    for name, source in sources.items():
        module = name.removesuffix(".__init__")
        is_package = name.endswith("__init__")
        if _top(module) == "asr" and _layer(module) is None:
            found.append(f"{module} has no place in LAYERS")
        for line, target in imports(source, module, is_package, names):
            if reason := forbidden(module, target):
                found.append(f"{module}, line {line}: imports {target}: {reason}")
            if target in names and target != module:
                graph.setdefault(module, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append("a cycle: " + " imports ".join(reversed(error.args[1])))
    return found


def imports(
    source: str, module: str, is_package: bool, names: set[str]
) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of everything that ``source`` imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, module, is_package)
            for alias in node.names:  # `from a import b` imports a.b where that is a module
                inner = f"{base}.{alias.name}"
                yield node.lineno, inner if inner in names else base
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, argument.value


def _base(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    up = node.level - is_package
    parents = module.split(".")[: len(module.split(".")) - up]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def forbidden(module: str, target: str) -> str | None:
    """Why ``module`` may not import ``target``, or None if it may."""
    for pattern in FORBIDDEN[_top(module)]:
        if fnmatchcase(_top(target), pattern):
            return f"{_top(module)} never imports {pattern.rstrip('*')}"
    if _top(target) == "soundfile" and module != SOUNDFILE_BELONGS_TO:
        return f"only {SOUNDFILE_BELONGS_TO} reads sound files"
    if _top(module) == _top(target) == "asr":
        return _upwards(module, target)
    return None


def _upwards(module: str, target: str) -> str | None:
    if (_part(module), _part(target)) in STRANGERS:
        return f"{_part(module)} and {_part(target)} meet at log-probabilities only"
    own, its = _layer(module), _layer(target)
    if own is not None and its is not None and its > own:
        return "imports point down only"
    return None


def _top(name: str) -> str:
    return name.partition(".")[0]


def _part(name: str) -> str:
    """The part of ``asr`` that a module belongs to: ``asr.nn.model`` -> ``nn``."""
    return name.removeprefix("asr").lstrip(".").partition(".")[0]


def _layer(name: str) -> int | None:
    for rank, patterns in enumerate(LAYERS):
        if any(fnmatchcase(_part(name), pattern) for pattern in patterns):
            return rank
    return None


def test_imports_point_down() -> None:
    sources = house()
    assert {_top(name) for name in sources} == set(PACKAGES)
    assert violations(sources) == []


ALLOWED = {
    "asr.__init__": "__version__ = '0'",
    "asr.types": "from asr import __version__\nimport numpy",
    "asr.audio.sndfile": "import soundfile\nfrom asr.types import Waveform",
    "asr.features": "from .audio import sndfile",
    "asr.nn.__init__": "from asr.nn.cell import Cell",
    "asr.nn.cell": "from ..types import AsrError\nimport torch",
    "asr.decoding.__init__": "from asr.tokens import Tokenizer",
    "asr.tokens": "import asr.audio.sndfile",
    "asr.bundle": "from asr.nn import Cell\nfrom asr import decoding",
    "asr.recognizer": "import asr.bundle",
    "server.main": "import grpc.aio\nfrom asr.recognizer import Recognizer",
    "recipes.fit": "import pytorch_lightning\nfrom asr import bundle",
}

PLANTED = [
    ("asr.types", "from asr.audio import read_audio", "point down only"),
    ("asr.features", "from asr.nn import Cell", "point down only"),
    ("asr.nn.cell", "import asr.recognizer", "point down only"),
    ("asr.nn.cell", "from asr.decoding import greedy", "log-probabilities"),
    ("asr.nn.cell", "from .. import decoding", "log-probabilities"),
    ("asr.nn.__init__", "from ..decoding import greedy", "log-probabilities"),
    ("asr.decoding.__init__", "from asr import nn", "log-probabilities"),
    ("asr.decoding.__init__", "from asr.nn.cell import Cell", "log-probabilities"),
    ("asr.bundle", "def load():\n    from asr.recognizer import Recognizer", "point down only"),
    ("asr.features", "import soundfile as sf", "only asr.audio"),
    ("asr.audio.decode", "import soundfile", "only asr.audio"),
    ("recipes.fit", "def read():\n    from soundfile import read", "only asr.audio"),
    ("asr.bundle", "import grpc", "never imports grpc"),
    ("asr.bundle", "def health():\n    from grpc_health.v1 import health", "never imports grpc"),
    ("asr.nn.cell", "import pytorch_lightning as pl", "never imports pytorch_lightning"),
    ("asr.nn.cell", "from lightning.pytorch import Trainer", "never imports lightning"),
    ("asr.bundle", "import importlib\nimportlib.import_module('grpc')", "never imports grpc"),
    ("asr.bundle", "from recipes.fit import fit", "never imports recipes"),
    ("asr.bundle", "from server import main", "never imports server"),
    ("server.main", "class A:\n    def f(self):\n        import lightning", "imports lightning"),
    ("server.main", "import recipes.fit", "never imports recipes"),
    ("recipes.fit", "from server.main import serve", "never imports server"),
    ("recipes.fit", "if TYPE_CHECKING:\n    import server", "never imports server"),
    ("asr.stray", "import torch", "no place in LAYERS"),
    ("asr.audio.sndfile", "import soundfile\nimport asr.features", "a cycle"),
]


def test_what_the_rules_allow_is_not_reported() -> None:
    assert violations(ALLOWED) == []


@pytest.mark.parametrize(("module", "source", "reason"), PLANTED)
def test_planted_violations_are_found(module: str, source: str, reason: str) -> None:
    found = violations({**ALLOWED, module: source})
    name = module.removesuffix(".__init__")
    assert any(name in line and reason in line for line in found), found


IMPORT_ALL = """
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError("kept away by the test: " + name)

sys.meta_path.insert(0, Absent())
package = importlib.import_module({package!r})
for module in pkgutil.walk_packages(package.__path__, {package!r} + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@pytest.mark.parametrize(
    ("package", "absent"),
    [
        (
            "asr",
            [
                *("grpc", "grpc_health", "lightning", "pytorch_lightning", "lhotse", "server"),
                *("kaldifst", "kaldilm", "kaldi_decoder", "librosa"),  # extras
            ],
        ),
        (
            "server",
            ["lightning", "pytorch_lightning", "lhotse", "torchmetrics", "librosa", "recipes"],
        ),
    ],
)
def test_package_works_without_what_it_may_not_import(package: str, absent: list[str]) -> None:
    """Indirect imports count too, so the real modules are imported where these are missing."""
    code = IMPORT_ALL.format(package=package, absent=absent)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_python_beside_the_service_definition() -> None:
    """A package called ``proto`` would hide proto-plus, which has that import name."""
    assert list((ROOT / "proto").rglob("*.proto"))
    assert list((ROOT / "proto").rglob("*.py")) == []
