"""Which decoder is meant by what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from asr.decoding.config import NAMES, OPTIONS, BeamOptions, DecoderOptions
from asr.options import from_values
from asr.types import DecodingError

if TYPE_CHECKING:
    from asr.decoding.beam.language import Language
    from asr.tokens import Tokenizer

__all__ = ["choose_options", "with_scores_of"]

# What beam search alone uses, beside its options, and how messages call it.
FOR_BEAM = {"language": "language model or lexicon", "phrases": "phrases"}
ONE_HYPOTHESIS = ("nbest", 1)  # which every decoder gives, those without this option too


def choose_options(
    default: DecoderOptions,
    name: str | None = None,
    changes: Mapping[str, Any] | None = None,
    *,
    language: bool = False,
    phrases: bool = False,
    words: Mapping[str, str] | None = None,
) -> DecoderOptions:
    """The options of the decoder that is meant, with ``changes``.

    The decoder is the one called ``name``. If there is no name, it is the decoder of ``default`` if
    that one can do all that is asked for, else the first of beam, prefix and wfst that can. Options
    that are not changed are those of ``default``, if the decoder is the same.

    >>> choose_options(OPTIONS["greedy"](), changes={"nbest": 1}).name
    'greedy'
    >>> choose_options(OPTIONS["greedy"](), changes={"nbest": 3}).name
    'beam'

    Args:
        default: what the bundle, or the recipe, has.
        changes: fields of the options classes by name. One hypothesis is what every decoder gives.
        language: a language model or a lexicon was given, which beam search alone uses.
        phrases: phrases were given, which beam search alone expects.
        words: what the user calls the fields, ``language`` and ``phrases``, for messages.

    Raises:
        DecodingError: there is no such decoder, none can do all of it, or a value is impossible.
    """
    changes = dict(changes or {})
    given = {"language": language, "phrases": phrases}
    asked = {**changes, **{what: True for what, is_given in given.items() if is_given}}
    if name is not None and name not in OPTIONS:
        raise DecodingError(f"unknown decoder {name!r}", remedy=f"choose one of {', '.join(NAMES)}")
    candidates = [name] if name is not None else [default.name, "beam", "prefix", "wfst"]
    chosen = next((each for each in candidates if not _lacking(each, asked)), None)
    if chosen is None:
        raise _refusal(name, asked, {**FOR_BEAM, **(words or {})})
    own = {f.name for f in fields(OPTIONS[chosen])}
    kept = asdict(default) if chosen == default.name else {}
    values = {**kept, **{option: value for option, value in changes.items() if option in own}}
    return from_values(OPTIONS[chosen], values, f"{chosen} decoder", DecodingError)


def with_scores_of(
    options: BeamOptions, tokenizer: Tokenizer, language: Language | None
) -> BeamOptions:
    """``options`` without the score for words or for tokens that its search has not.

    Where words are said by a lexicon, tokens have no score; where there are no words, they have
    none. A bundle's scores are for its own language, and another one may be searched.
    """
    if language is not None and language.says_words:
        return replace(options, token_score=0.0)
    return options if tokenizer.word_separator is not None else replace(options, word_score=0.0)


def _lacking(name: str, asked: Mapping[str, Any]) -> list[str]:
    """What of ``asked`` the decoder cannot do."""
    own = {f.name for f in fields(OPTIONS[name])}
    if name == BeamOptions.name:
        own.update(FOR_BEAM)
    wanted = (option for option, value in asked.items() if (option, value) != ONE_HYPOTHESIS)
    return [option for option in wanted if option not in own]


def _refusal(name: str | None, asked: Mapping[str, Any], words: Mapping[str, str]) -> DecodingError:
    """Why nothing can be chosen, in the user's words."""

    def listed(options: list[str]) -> str:
        return ", ".join(words.get(option, option) for option in options)

    if name is None:
        return DecodingError(
            f"no decoder takes all of {listed(list(asked))}", remedy="leave one of them out"
        )
    lacking = _lacking(name, asked)
    able = [each for each in NAMES if not _lacking(each, {o: asked[o] for o in lacking})]
    leave = f"leave {'it' if len(lacking) == 1 else 'them'} out"
    remedy = f"choose the decoder {' or '.join(able)}, or {leave}" if able else leave
    more = " above 1" if lacking == ["nbest"] else ""
    return DecodingError(f"{name} decoding takes no {listed(lacking)}{more}", remedy=remedy)
