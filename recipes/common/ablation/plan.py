"""What an ablation trains: a YAML file of rows and seeds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from asr.files.read import read_text
from asr.options import from_values
from asr.types import ConfigError

__all__ = ["Job", "Plan", "Row", "arguments", "jobs", "read_plan"]

MAX_LABEL = 100  # characters of a folder's name
PLACE = re.compile(r"\{(\w+)\}")
NAME = re.compile(r"[\w.-]+")

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One row of the table: options of the three commands beside those of all rows.

    Attributes:
        says: what is different, for the table.
        prepare: options of ``prepare``; rows with the same ones share a data folder.
        fit: options of ``fit``, with dots in their names.
        evaluate: options of ``evaluate``.
    """

    says: str = ""
    prepare: Values = field(default_factory=dict)
    fit: Values = field(default_factory=dict)
    evaluate: Values = field(default_factory=dict)
    of: str = ""


@dataclass(frozen=True)
class Plan:
    """All rows, the first of which the others are compared with.

    Attributes:
        seeds: each row is trained with each of them.
        rows: by name.
        prepare, fit, evaluate: options of all rows, unless a row says otherwise.
        gap: two rows, the worse first: the table says which share of the way from it to the better
            one the others go.
    """

    seeds: tuple[int, ...]
    rows: Mapping[str, Row]
    prepare: Values = field(default_factory=dict)
    fit: Values = field(default_factory=dict)
    evaluate: Values = field(default_factory=dict)
    gap: tuple[str, str] | None = None


@dataclass(frozen=True)
class Job:
    """One row with one seed, its options filled in.

    ``run`` is its folder, ``trained`` the folder of the training that is evaluated: its own, or
    that of another row.
    """

    row: str
    seed: int
    run: Path
    trained: Path
    data: Path
    prepare: Values
    fit: Values
    evaluate: Values

    def __str__(self) -> str:
        return f"{self.row}, seed {self.seed}"


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        ConfigError: the file is no such YAML, a key is unknown, or a name cannot be a folder's.
    """
    try:
        values = yaml.safe_load(read_text(path, ConfigError, remedy="name the plan's file"))
    except yaml.YAMLError as error:
        raise ConfigError(
            f"this is no YAML: {' '.join(str(error).split())}", where=str(path)
        ) from None
    try:
        plan = from_values(Plan, values, "ablation", ConfigError)
        if not isinstance(plan.rows, Mapping) or not plan.rows:
            raise ConfigError("there are no rows", remedy="name one row at least under `rows`")
        if not _are_seeds(plan.seeds):
            raise ConfigError(f"seeds are {plan.seeds!r}", remedy="give a list such as [0, 1, 2]")
        rows = {
            str(name): from_values(Row, options or {}, f"{name}'s", ConfigError)
            for name, options in dict[Any, Any](plan.rows).items()
        }
        _check_options("all rows", plan)
        for name, row in rows.items():
            if not NAME.fullmatch(name):
                raise ConfigError(
                    f"{name!r} cannot name a row", remedy="use letters, digits, hyphens and dots"
                )
            for part in ("says", "of"):
                if not isinstance(text := getattr(row, part), str):
                    raise ConfigError(
                        f"{part} of {name} is {text!r}", remedy="give text, in quotes"
                    )
            _check_options(name, row)
        _check_names(plan, rows)
    except ConfigError as error:
        raise error.at(str(path)) from None
    gap = None if plan.gap is None else (plan.gap[0], plan.gap[1])
    return Plan(tuple(plan.seeds), rows, plan.prepare, plan.fit, plan.evaluate, gap)


def _are_seeds(values: object) -> bool:
    return (
        isinstance(values, Sequence)
        and bool(values)
        and all(type(seed) is int for seed in values)
        and len(set(values)) == len(values)
    )


def _check_options(name: str, part: Plan | Row) -> None:
    """Refuse options that are no values by name.

    Raises:
        ConfigError: there are some.
    """
    for command in ("prepare", "fit", "evaluate"):
        values = getattr(part, command)
        if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
            raise ConfigError(
                f"options of {command} for {name} are {values!r}", remedy="give values by name"
            )
        for key, value in values.items():
            try:
                json.dumps(value)
            except TypeError:
                raise ConfigError(
                    f"{key} of {command} for {name} is {value!r}", remedy="give it in quotes"
                ) from None


def _check_names(plan: Plan, rows: Mapping[str, Row]) -> None:
    """Refuse rows that speak of rows that there are not.

    Raises:
        ConfigError: one does.
    """
    trained: set[str] = set()
    for name, row in rows.items():
        if not row.of:
            trained.add(name)
        elif row.of not in trained:
            raise ConfigError(
                f"{name} is of {row.of!r}, which is no row above it that is trained",
                remedy=f"name one of {', '.join(sorted(trained)) or 'those that stand above'}",
            )
        elif row.prepare or row.fit:
            raise ConfigError(
                f"{name} is of {row.of}, and has options of prepare or fit",
                remedy="give options of evaluate alone",
            )
    gap = plan.gap
    is_pair = isinstance(gap, Sequence) and len(gap) == 2 and gap[0] != gap[1]
    if gap is not None and not (is_pair and all(name in list(rows) for name in gap)):
        raise ConfigError(
            f"the gap is {gap!r}", remedy="name two rows in a list, the worse one first"
        )


def jobs(plan: Plan, root: Path, places: Mapping[str, str]) -> list[Job]:
    """All runs of ``plan``: every row with the first seed, then with the next.

    Args:
        root: the folder that all of them are in.
        places: texts for names in braces, ``{noise}`` for one. ``{seed}``, ``{data}`` and
            ``{run}`` are those of the run.

    Raises:
        ConfigError: a name in braces has no text.
    """
    return [_job(plan, root, places, name, seed) for seed in plan.seeds for name in plan.rows]


def _job(plan: Plan, root: Path, places: Mapping[str, str], name: str, seed: int) -> Job:
    row = plan.rows[name]
    made_by = plan.rows[row.of or name]
    run, trained = (root / each / f"seed-{seed}" for each in (name, row.of or name))
    known = {**places, "seed": str(seed), "run": str(trained)}
    prepare = _filled({**plan.prepare, **made_by.prepare}, known, name)
    data = root / "data" / (_label(prepare) or "as-it-comes")
    known["data"] = str(data)
    fit, evaluate = (
        _filled(options, known, name)
        for options in ({**plan.fit, **made_by.fit}, {**plan.evaluate, **row.evaluate})
    )
    return Job(name, seed, run, trained, data, prepare, fit, evaluate)


def _label(options: Values) -> str:
    """A folder's name that tells the options, with a digest of them where it cannot tell all."""
    told = "-".join(f"{name}-{value}" for name, value in options.items())
    label = re.sub(r"[^\w.]+", "-", told).strip("-")
    if label == told and len(label) <= MAX_LABEL:
        return label
    digest = hashlib.sha256(told.encode()).hexdigest()[:8]
    return f"{label[:MAX_LABEL]}-{digest}"


def _filled(value: Any, places: Mapping[str, str], row: str) -> Any:
    """``value`` with texts in the place of names in braces."""
    if isinstance(value, Mapping):
        return {name: _filled(each, places, row) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, places, row) for each in value]
    if not isinstance(value, str):
        return value
    for name in PLACE.findall(value):
        if name not in places:
            raise ConfigError(
                f"row {row} asks for {{{name}}}", remedy=f"say what it is: --set {name}=..."
            )
    return PLACE.sub(lambda found: places[found.group(1)], value)


def arguments(options: Values, *, yaml_values: bool = False) -> list[str]:
    """Options as words of a command line.

    A list is several words, ``true`` is the name alone, and ``false`` and null are nothing; with
    ``yaml_values`` every value is one word, as `fit` reads it.
    """
    words: list[str] = []
    for name, value in options.items():
        if not yaml_values and (value is None or value is False):
            continue
        words.append(f"--{name}")
        if yaml_values:
            words.append(value if isinstance(value, str) else json.dumps(value))
        elif value is not True:
            words += map(str, value if isinstance(value, list) else [value])
    return words
