"""What commands that recognise have in common: the model, the decoder, and what it knows."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from asr.files.read import read_lines
from asr.types import ConfigError, DecodingError

if TYPE_CHECKING:
    from asr.decoding import DecoderConfig, Phrase
    from asr.recognizer import Recognizer

__all__ = [
    "add_language",
    "add_model",
    "add_recognition",
    "chosen_decoder",
    "chosen_phrases",
    "load_recognizer",
]

OF_PREFIX = ("blank_threshold", "max_expansions")
OF_GRAPH = ("graph", "acoustic_scale", "search_beam", "max_active")
OF_BEAM = (
    "beam_width",
    "beam_threshold",
    "lm_weight",
    "word_bonus",
    "token_bonus",
    "unknown_penalty",
)


def add_recognition(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the options of the decoders, and those of :func:`add_model`."""
    add = parser.add_argument_group("decoding").add_argument
    add("--decoder", help="greedy, beam, prefix or wfst (default: the bundle's)")
    add("--alternatives", type=int, metavar="N", help="hypotheses to give")
    add("--beam-width", type=int, metavar="K", help="beam: prefixes kept after each frame")
    add(
        "--beam-threshold",
        type=float,
        metavar="X",
        help="beam: drop prefixes that score this much less than the best",
    )
    add(
        "--blank-threshold",
        type=float,
        metavar="P",
        help="prefix search: sections end where a blank is more probable; 1.0: no sections",
    )
    add("--max-expansions", type=int, metavar="N", help="prefix search: its budget in a section")
    add_language(parser)
    _add_weights(parser)
    _add_graph(parser)
    add_model(parser)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the options of where and by what the model is computed."""
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument(
        "--backend",
        default="auto",
        help="torch, onnx or onnx-int8 (default: onnx on cpu if it can run the model, else torch)",
    )


def add_language(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the options of language model and lexicon."""
    add = parser.add_argument_group("language, for the decoder beam").add_argument
    add("--lm", metavar="ARPA", help="language model in place of the bundle's")
    add("--lm-units", default="words", help="what it is made of: words or tokens (default: words)")
    add(
        "--lexicon",
        metavar="FILE",
        help="the words that may be said, one a line (default: the language model's)",
    )


def _add_weights(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("weights, for the decoder beam").add_argument
    add("--lm-weight", type=float, metavar="W", help="of the language model; 0: none")
    add("--word-bonus", type=float, metavar="X", help="for each word")
    add("--token-bonus", type=float, metavar="X", help="for each token")
    add(
        "--unknown-penalty",
        type=float,
        metavar="X",
        help="allow words outside the lexicon, at this price",
    )
    add("--phrase", action="append", metavar="TEXT", help="words that may be said; may be repeated")
    add("--phrases", metavar="FILE", help="a phrase a line, perhaps with a tab and its weight")
    add(
        "--phrase-weight",
        type=float,
        metavar="W",
        help="what a phrase adds for each of its tokens (default: 1.5)",
    )


def _add_graph(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("search in a graph, the decoder wfst").add_argument
    add("--graph", metavar="GRAPH", help="the folder that asr graph made")
    add(
        "--acoustic-scale",
        type=float,
        metavar="A",
        help="weight of the audio against the words (default: 1)",
    )
    add(
        "--search-beam",
        type=float,
        metavar="X",
        help="leave what is less probable than the best by this (default: 16)",
    )
    add("--max-active", type=int, metavar="N", help="states kept (default: 7000)")


def load_recognizer(options: argparse.Namespace) -> Recognizer:
    """The bundle's recogniser, with the language model and lexicon of the command line if given.

    Raises:
        AsrError: the bundle, the model or the lexicon cannot be read, or they do not fit.
    """
    from asr.bundle import load_bundle
    from asr.recognizer import Recognizer

    bundle = load_bundle(options.bundle, options.device)
    if options.lm is not None or options.lexicon is not None:
        from asr.decoding.beam.language import Language

        language = Language.load(bundle.tokenizer, options.lm, options.lexicon, options.lm_units)
        bundle = replace(bundle, language=language)
    return Recognizer(bundle, options.device, backend=options.backend)


def chosen_decoder(options: argparse.Namespace, default: DecoderConfig) -> DecoderConfig:
    """The bundle's decoder with what the command line changes.

    An option of one decoder asks for that decoder; alternatives ask for a beam where the bundle's
    decoder has but one.
    """
    from asr.decoding import DecoderConfig

    names = (*OF_BEAM, *OF_PREFIX, *OF_GRAPH, "alternatives")
    chosen = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    language = [options.lm, options.lexicon, options.phrase, options.phrases]
    for_beam = any(name in chosen for name in OF_BEAM) or any(language)
    if options.decoder is None and not chosen and not for_beam:
        return default
    if any(name in chosen for name in OF_GRAPH):
        asked = "wfst"
    elif any(name in chosen for name in OF_PREFIX):
        asked = "prefix"
    elif for_beam or default.name == "greedy":
        asked = "beam"
    else:
        asked = default.name
    name = options.decoder or asked
    if name != "beam" and (options.lm or options.lexicon):
        raise ConfigError(
            f"{name} decoding uses no language model or lexicon",
            remedy="choose --decoder beam, or leave --lm and --lexicon away",
        )
    kept = default.to_dict() if name == default.name else {}
    return DecoderConfig.from_dict({**kept, "name": name, **chosen})


def chosen_phrases(options: argparse.Namespace) -> list[Phrase]:
    """The phrases of ``--phrase`` and ``--phrases``.

    Raises:
        ConfigError: the file cannot be read, or a weight is no number.
        DecodingError: a phrase is empty or its weight impossible.
    """
    from asr.decoding import Phrase
    from asr.decoding.beam.phrases import DEFAULT_WEIGHT

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
