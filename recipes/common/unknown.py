"""Options that do not exist, where the parser would not say so: those that are given as ``{}``.

``{}`` asks for the defaults of an option that is otherwise off. The parser leaves out an unknown
one, so that a slip of the pen would train without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from asr.types import ConfigError
from recipes.common.renamed import CONFIG

__all__ = ["check_names"]

FREE = {"init_args", "dict_kwargs"}  # of classes that anyone may have written


def check_names(argv: Sequence[str], config: Namespace) -> None:
    """Hold what is ``{}`` in ``argv``, and in the files that it names, against the options.

    Raises:
        ConfigError: ``config``, which was parsed from them, has no such option.
    """
    for name in _empty_options(argv):
        if not FREE & set(name.split(".")) and name not in config:
            raise ConfigError(f"there is no option {name}", remedy="see `fit --help`")


def _empty_options(argv: Sequence[str]) -> Iterator[str]:
    split = [argument.partition("=") for argument in argv]
    pairs = [(option, value) for option, equals, value in split if equals]
    for option, value in [*pairs, *pairwise(argv)]:
        if option in CONFIG:
            path = Path(value)
            yield from _empty(_loaded(path.read_text("utf-8") if _is_file(path) else value), "")
        elif option.startswith("--"):
            yield from _empty(_loaded(value), option[2:])


def _empty(values: Any, name: str) -> Iterator[str]:
    """Dotted names of the empty mappings in ``values``."""
    if isinstance(values, dict):
        if not values:
            yield name
        for key, value in values.items():
            yield from _empty(value, f"{name}.{key}" if name else str(key))


def _loaded(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return None  # the parser has the words for it


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text where a name is meant
        return False
