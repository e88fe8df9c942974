"""Options under the names that they had in earlier versions: on the command line and in files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from asr.nn.model import NetworkConfig

__all__ = ["CONFIG", "config_files", "with_new_names", "with_new_names_in"]

# Where the model's options stand today that once stood among its own.
SECTIONS = {
    "network": tuple(field.name for field in fields(NetworkConfig)),
    "schedule": ("warmup_steps", "final_fraction"),
}
NAMES = {
    f"--model.{name}": f"--model.{section}.{name}"
    for section, names in SECTIONS.items()
    for name in names
}
CONFIG = ("-c", "--config")
# Earlier versions set these themselves, whatever a file said.
IGNORED = "callbacks default_root_dir logger num_sanity_val_steps use_distributed_sampler".split()


def with_new_names(argv: Sequence[str]) -> list[str]:
    """``argv`` of ``fit`` with today's names, in the files that it names too."""
    result: list[str] = []
    for argument in argv:
        option, equals, value = argument.partition("=")
        if option in CONFIG and equals:
            argument = option + equals + (_renamed(Path(value)) or value)
        elif result and result[-1] in CONFIG:
            argument = _renamed(Path(argument)) or argument
        else:
            argument = NAMES.get(option, option) + equals + value
        result.append(argument)
    return result


def config_files(argv: Sequence[str]) -> list[Path]:
    """The files of options that ``argv`` names."""
    found = []
    for before, argument in zip(["", *argv], argv, strict=False):
        option, equals, value = argument.partition("=")
        if option in CONFIG and equals:
            found.append(Path(value))
        elif before in CONFIG:
            found.append(Path(argument))
    return found


@contextmanager
def with_new_names_in(config: Path) -> Iterator[Path]:
    """A file like ``config`` with today's names, which lasts as long as the context."""
    text = _renamed(config)
    if text is None:
        yield config
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / config.name
        path.write_text(text, encoding="utf-8")
        yield path


def _renamed(path: Path) -> str | None:
    """The file's content with today's names; None if it has them already, or is no such file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None  # the parser has the words for it
    model = values.get("model") if isinstance(values, dict) else None
    if not isinstance(model, dict):
        return None
    moved = {section for section, names in SECTIONS.items() if _move(model, section, names)}
    if not moved:
        return None
    for name in IGNORED if "network" in moved else ():
        if isinstance(values.get("trainer"), dict):
            values["trainer"].pop(name, None)
    return yaml.safe_dump(values)


def _move(model: dict[str, Any], section: str, names: Sequence[str]) -> bool:
    """Move options of these names into a section of ``model``; says whether there were any."""
    if not isinstance(model.get(section) or {}, dict):
        return False  # the parser has the words for it
    old = {name: model.pop(name) for name in names if name in model}
    if old:
        model[section] = {**old, **(model.get(section) or {})}
    return bool(old)
