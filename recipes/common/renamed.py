"""Options under the names that they had in earlier versions: on the command line and in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from asr.nn.model import NetworkConfig

__all__ = ["with_new_names"]

NETWORK = tuple(field.name for field in fields(NetworkConfig))
NAMES = {f"--model.{name}": f"--model.network.{name}" for name in NETWORK}
CONFIG = ("-c", "--config")


def with_new_names(argv: Sequence[str]) -> list[str]:
    """``argv`` of ``fit`` with today's names, in the files that it names too."""
    result: list[str] = []
    for argument in argv:
        option, equals, value = argument.partition("=")
        if option in CONFIG and equals:
            argument = option + equals + _config(value)
        elif result and result[-1] in CONFIG:
            argument = _config(argument)
        else:
            argument = NAMES.get(option, option) + equals + value
        result.append(argument)
    return result


def _config(path: str) -> str:
    """``path``, or the file's content where that has names of an earlier version."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return path  # the parser has the words for it
    model = values.get("model") if isinstance(values, dict) else None
    if not isinstance(model, dict) or not set(NETWORK) & set(model):
        return path
    old: dict[str, Any] = {name: model.pop(name) for name in NETWORK if name in model}
    model["network"] = {**old, **(model.get("network") or {})}
    return yaml.safe_dump(values)
