"""Which decoder is meant by what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from asr.decoding.config import NAMES, OPTIONS, BeamOptions, DecoderOptions
from asr.options import from_values
from asr.types import DecodingError

__all__ = ["choose_options"]


def choose_options(
    default: DecoderOptions,
    name: str | None = None,
    changes: Mapping[str, Any] | None = None,
    *,
    language: bool = False,
    phrases: bool = False,
) -> DecoderOptions:
    """The options of the decoder that is meant, with ``changes``.

    The decoder is the one called ``name``. If there is no name, it is the decoder of ``default`` if
    that one can do all that is asked for, else the first of beam, prefix and wfst that can. Options
    that are not changed are those of ``default``, if the decoder is the same.

    Args:
        default: what the bundle, or the recipe, has.
        changes: fields of the options classes by name. One hypothesis is what every decoder gives.
        language: a language model or a lexicon was given, which beam search alone uses.
        phrases: phrases were given, which beam search alone expects.

    Raises:
        DecodingError: there is no such decoder, none can do all of it, or a value is impossible.
    """
    changes = dict(changes or {})
    if changes.get("nbest") == 1 and not _can(default.name if name is None else name, ["nbest"]):
        del changes["nbest"]  # which is what it gives
    if name is not None and name not in OPTIONS:
        raise DecodingError(f"unknown decoder {name!r}", remedy=f"choose one of {', '.join(NAMES)}")
    candidates = [name] if name else [default.name, "beam", "prefix", "wfst"]
    able = (
        each
        for each in candidates
        if _can(each, changes) and (each == BeamOptions.name or not (language or phrases))
    )
    chosen = next(able, None)
    if chosen is None:
        raise _refusal(name, changes, language, phrases)
    kept = asdict(default) if chosen == default.name else {}
    return from_values(OPTIONS[chosen], {**kept, **changes}, f"{chosen} decoder", DecodingError)


def _can(name: str, changes: Mapping[str, Any] | list[str]) -> bool:
    """Whether the decoder has all these options; greedy search and wfst have one hypothesis."""
    return name in OPTIONS and {f.name for f in fields(OPTIONS[name])}.issuperset(changes)


def _refusal(
    name: str | None, changes: Mapping[str, Any], language: bool, phrases: bool
) -> DecodingError:
    """Why nothing can be chosen, in words."""
    asked = sorted(changes)
    asked += ["a language model or lexicon"] * language + ["phrases"] * phrases
    if name is None:
        return DecodingError(
            f"no decoder has all of {', '.join(asked)}", remedy="leave one of them out"
        )
    if language or phrases:
        return DecodingError(
            f"{name} decoding uses no language model, lexicon or phrases",
            remedy="choose the decoder beam, or leave them out",
        )
    lacking = [change for change in asked if not _can(name, [change])]
    others = [other for other in NAMES if _can(other, lacking)]
    remedy = f"choose {' or '.join(others)}, or leave them out" if others else "leave them out"
    return DecodingError(f"{name} decoding has no {', '.join(lacking)}", remedy=remedy)
