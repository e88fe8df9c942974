"""What commands that recognise have in common: the model, the decoder, and what it knows."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.starting import load_compiler, starting
from asr.files.read import read_lines
from asr.types import ConfigError, DecodingError

if TYPE_CHECKING:
    from asr.audio import AudioLimits
    from asr.bundle import Bundle
    from asr.decoding import Decoder, DecoderOptions, Phrase
    from asr.decoding.beam.language import Language
    from asr.gate import Gate
    from asr.recognizer import Recognizer
    from asr.tokens import Tokenizer

__all__ = [
    "add_decoding",
    "add_language",
    "add_model",
    "add_recognition",
    "chosen_decoder",
    "chosen_options",
    "chosen_phrases",
    "fitting_options",
    "lm_units",
    "load_recognizer",
    "load_to_decode",
    "pronunciations",
]


def penalty(text: str) -> float:
    """A penalty as the score that is added."""
    return -float(text)


# Options of decoders that had other names before: what they are now, and how to read them.
RENAMED: dict[str, tuple[str, Callable[[str], object]]] = {
    "--alternatives": ("nbest", int),
    "--word-bonus": ("word_score", float),
    "--token-bonus": ("token_score", float),
    "--unknown-penalty": ("unk_score", penalty),
}


def add_recognition(parser: argparse.ArgumentParser, default: str = "the bundle's") -> None:
    """Give ``parser`` the options of decoders, language, phrases and :func:`add_model`."""
    add_decoding(parser, default, of_bundle=True)
    add_language(parser)
    _add_phrases(parser)
    add_model(parser)


def add_decoding(
    parser: argparse.ArgumentParser,
    default: str,
    *,
    of_bundle: bool = False,
    usual: DecoderOptions | None = None,
) -> None:
    """Give ``parser`` ``--decoder``, and an option for each field of each decoder's options.

    ``default`` names the decoder where nothing is asked for. Values that are not given are those of
    a bundle, where ``of_bundle``, or of ``usual``, or else the decoder's.
    """
    from asr.decoding.config import NAMES, OPTIONS

    group = parser.add_argument_group("decoding")
    group.add_argument(
        "--decoder",
        metavar="NAME",
        help=f"{', '.join(NAMES)} (default: {default}, or the one that has the options given)",
    )
    done: set[str] = set()
    for name, options in OPTIONS.items():
        own = [f for f in fields(options) if f.name not in done]
        if own:
            group = parser.add_argument_group(f"decoding, {name}")
        for f in own:
            done.add(f.name)
            users = [each for each in NAMES if f.name in {g.name for g in fields(OPTIONS[each])}]
            also = f"; also {', '.join(users[1:])}" if users[1:] else ""
            value = getattr(usual, f.name, f.default)
            own_first = "the bundle's, else " if of_bundle else ""
            value = "" if value in (None, "") else f" (default: {own_first}{value:g})"
            group.add_argument(
                f"--{f.name.replace('_', '-')}",
                type=f.metadata["kind"],
                metavar=f.metadata["metavar"],
                help=f"{f.metadata['help']}{value}{also}",
            )
    for old, (new, kind) in RENAMED.items():
        group.add_argument(old, dest=new, type=kind, help=argparse.SUPPRESS)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the options of where and by what the model is computed."""
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument(
        "--backend",
        default="auto",
        help="torch, int8, onnx or onnx-int8 (default: the fastest that computes in float32)",
    )


def add_language(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the options of language model and lexicon."""
    add = parser.add_argument_group("language, for the decoder beam").add_argument
    add("--lm", metavar="ARPA", help="language model in place of the bundle's")
    add("--lm-units", metavar="UNITS", help="what it is made of: words or tokens (default: words)")
    add(
        "--lexicon",
        metavar="FILE",
        help="the words that may be said, one a line; the bundle's language model stays, unless "
        "--lm is given (default: the language model's; with phones, the bundle's)",
    )


def _add_phrases(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("phrases (hot words), for the decoder beam").add_argument
    add("--phrase", action="append", metavar="TEXT", help="words that may be said; may be repeated")
    add("--phrases", metavar="FILE", help="a phrase a line, perhaps with a tab and its weight")
    add(
        "--phrase-weight",
        type=float,
        metavar="W",
        help="what a phrase adds for each of its tokens (default: 1.5)",
    )


@starting()
def load_recognizer(
    options: argparse.Namespace,
    gate: Gate | None = None,
    limits: AudioLimits | None = None,
    *,
    uses_language: Callable[[DecoderOptions], bool] = lambda decoder: True,
) -> Recognizer:
    """The bundle's recogniser, with the language model and lexicon of the command line if given.

    A bundle of phones keeps its lexicon where a language model of words is given alone, and any
    bundle its language model where a lexicon is.

    ``gate`` says which audio holds no words, ``limits`` what audio is accepted. ``uses_language``
    is told the bundle's decoder; where it says no, the bundle's own language is not read.

    Raises:
        AsrError: the bundle, the model or the lexicon cannot be read, or they do not fit.
    """
    from asr.bundle import load_bundle
    from asr.recognizer import Recognizer

    lm_units(options)
    other = options.lm is not None or options.lexicon is not None
    bundle = load_bundle(
        options.bundle,
        options.device,
        uses_language=lambda decoder: uses_language(decoder) and options.lm is None,
        keep_language=True,
    )
    if other:
        if bundle.language is None:
            uses_language(bundle.decoder)  # refuses one that has none, before it is read
        bundle = replace(bundle, language=_other_language(options, bundle))
    return Recognizer(bundle, options.device, backend=options.backend, limits=limits, gate=gate)


def _other_language(options: argparse.Namespace, bundle: Bundle) -> Language:
    """That of the command line, with the bundle's own in the place of what is not given."""
    from asr.decoding.beam.language import Language

    lexicon = options.lexicon
    if bundle.language is not None:  # which is read where a lexicon is given alone
        return bundle.language.changed(None, lexicon)
    units = lm_units(options)
    if lexicon is None and units == "words":
        lexicon = pronunciations(options.bundle, bundle.tokenizer)
    return Language.load(bundle.tokenizer, options.lm, lexicon, units)


def lm_units(options: argparse.Namespace) -> str:
    """What the language model of ``--lm`` is made of.

    Raises:
        ConfigError: it is said of none.
    """
    if options.lm_units is not None and options.lm is None:
        raise ConfigError("--lm-units without a language model", remedy="add --lm, or leave it out")
    return options.lm_units or "words"


def pronunciations(bundle: str | os.PathLike[str], tokenizer: Tokenizer) -> Path | None:
    """The bundle's lexicon, if words cannot be had without one: if its tokens are phones."""
    from asr.bundle.contents import LEXICON

    lexicon = Path(bundle, LEXICON)
    return lexicon if tokenizer.kind == "phones" and lexicon.is_file() else None


def load_to_decode(
    options: argparse.Namespace, gate: Gate | None = None, limits: AudioLimits | None = None
) -> tuple[Recognizer, Decoder]:
    """As :func:`load_recognizer`, for nothing but the decoder of :func:`chosen_decoder`.

    Raises:
        AsrError: one of them cannot be had, before any audio is read.
    """
    from asr.decoding import BeamOptions

    def uses_language(default: DecoderOptions) -> bool:
        is_beam = isinstance(chosen_options(options, default), BeamOptions)
        if is_beam:
            load_compiler()
        return is_beam

    recognizer = load_recognizer(options, gate, limits, uses_language=uses_language)
    return recognizer, chosen_decoder(options, recognizer)


def chosen_options(options: argparse.Namespace, default: DecoderOptions) -> DecoderOptions:
    """The decoder that the command line asks for, where the bundle or recipe has ``default``.

    Raises:
        DecodingError: see :func:`asr.decoding.choice.choose_options`.
    """
    from asr.decoding.choice import choose_options
    from asr.decoding.config import OPTIONS

    names = {f.name for each in OPTIONS.values() for f in fields(each)}
    given = {name: getattr(options, name) for name in names}
    flags = {name: f"--{name.replace('_', '-')}" for name in names}
    return choose_options(
        default,
        options.decoder,
        {name: value for name, value in given.items() if value is not None},
        language=options.lm is not None or options.lexicon is not None,
        phrases=bool(getattr(options, "phrase", None) or getattr(options, "phrases", None)),
        words={**flags, "language": "--lm or --lexicon", "phrases": "--phrase"},
    )


def chosen_decoder(options: argparse.Namespace, recognizer: Recognizer) -> Decoder:
    """The decoder that the command line asks for, with its phrases, ready.

    Raises:
        AsrError: it cannot be made, before any audio is read.
    """
    return recognizer.decoder(fitting_options(options, recognizer), chosen_phrases(options))


def fitting_options(options: argparse.Namespace, recognizer: Recognizer) -> DecoderOptions:
    """As :func:`chosen_options`, for the language of ``recognizer``: a score that the bundle has
    for words or tokens, and the search has not, is left out unless it is asked for.

    Raises:
        DecodingError: see :func:`chosen_options`.
    """
    from asr.decoding import BeamOptions
    from asr.decoding.choice import with_scores_of

    chosen = chosen_options(options, recognizer.bundle.decoder)
    if not isinstance(chosen, BeamOptions):
        return chosen
    fitting = with_scores_of(chosen, recognizer.tokenizer, recognizer.bundle.language)
    asked = {name: getattr(options, name) for name in ("word_score", "token_score")}
    return replace(fitting, **{name: value for name, value in asked.items() if value is not None})


def chosen_phrases(options: argparse.Namespace) -> list[Phrase]:
    """The phrases of ``--phrase`` and ``--phrases``.

    Raises:
        ConfigError: the file cannot be read, a weight is no number, or there is a weight alone.
        DecodingError: a phrase is empty or its weight impossible.
    """
    from asr.decoding import Phrase
    from asr.decoding.beam.phrases import DEFAULT_WEIGHT

    if options.phrase_weight is not None and not (options.phrase or options.phrases):
        raise ConfigError("--phrase-weight without phrases", remedy="add --phrase or --phrases")
    weight = DEFAULT_WEIGHT if options.phrase_weight is None else options.phrase_weight
    phrases = [Phrase(text, weight) for text in options.phrase or ()]
    if options.phrases is not None:
        phrases += _read_phrases(options.phrases, weight)
    return phrases


def _read_phrases(path: str, weight: float) -> list[Phrase]:
    from asr.decoding import Phrase

    phrases = []
    for where, line in read_lines(path, ConfigError):
        text, tab, own = line.partition("\t")
        try:
            phrases.append(Phrase(text, float(own) if tab else weight))
        except ValueError:
            raise ConfigError(
                f"the weight {own!r} is no number",
                where=where,
                remedy="give a phrase, or a phrase, a tab and a number",
            ) from None
        except DecodingError as error:
            raise error.at(where) from None
    return phrases
