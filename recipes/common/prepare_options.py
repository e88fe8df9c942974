"""Options of ``prepare`` about texts and units, on the command line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import replace

from asr.types import ConfigError
from recipes.common.normaliser import CASES, PUNCTUATION, QUOTES, TextOptions
from recipes.common.recipe import Recipe
from recipes.common.units.options import CMUDICT, ESPEAK, KINDS, NONE, OF_LEXICONS, UnitOptions

__all__ = ["add_text_options", "chosen_text", "chosen_units"]


def add_text_options(part: ArgumentParser, recipe: Recipe) -> None:
    """Add them; a corpus of phones has none, since its texts are the tokens."""
    if recipe.token_kind != "characters":
        return
    text, units = recipe.text, UnitOptions()
    group = part.add_argument_group("texts")
    group.add_argument("--case", choices=CASES, default=text.case, help=f"default: {text.case}")
    group.add_argument(
        "--punctuation",
        choices=PUNCTUATION,
        default=text.punctuation,
        help=f"apostrophes within words stay in any case (default: {text.punctuation})",
    )
    group.add_argument(
        "--quotes",
        choices=QUOTES,
        default=text.quotes,
        help=f"unified: one form of apostrophe, one of quotation mark (default: {text.quotes})",
    )
    group.add_argument(
        "--numbers",
        metavar="LANGUAGE",
        default=text.numbers,
        help="spell numbers in this language of num2words, such as en (default: keep them)",
    )
    group = part.add_argument_group("units")
    usual = "the recipe's, see its page" if recipe.units else units.kind
    group.add_argument(
        "--units",
        choices=KINDS,
        default=None if recipe.units else units.kind,
        help=f"default: {usual}",
    )
    group.add_argument(
        "--vocab-size",
        metavar="N",
        type=int,
        help=f"of subwords, how many (default: {units.vocab_size})",
    )
    group.add_argument(
        "--lexicon",
        metavar="FILE",
        nargs="+",
        default=[],
        help=f"of phones: lines WORD P H O N E S, or {CMUDICT}; the first that has a word counts",
    )
    group.add_argument(
        "--g2p",
        choices=(ESPEAK, NONE),
        help=f"what pronounces other words (default: {ESPEAK} with {CMUDICT}, else {NONE})",
    )
    group.add_argument("--stress", choices=("drop", "keep"), help="AH1 as AH (default: drop)")
    group.add_argument(
        "--words",
        metavar="FILE",
        help=f"further words for lexicon.txt, one a line, or {OF_LEXICONS} for all of --lexicon",
    )


def chosen_text(recipe: Recipe, arguments: Namespace) -> TextOptions:
    """The form of texts.

    Raises:
        ConfigError: there is no such language of numbers.
    """
    if recipe.token_kind != "characters":
        return recipe.text
    return TextOptions(arguments.case, arguments.punctuation, arguments.quotes, arguments.numbers)


def chosen_units(recipe: Recipe, arguments: Namespace) -> UnitOptions | None:
    """The units; None where the texts are the tokens.

    Raises:
        ConfigError: the options do not go together.
    """
    if recipe.token_kind != "characters":
        return None
    usual = UnitOptions()
    if arguments.units is None and recipe.units is not None:
        usual = recipe.units(arguments)
    options = replace(
        usual,
        kind=arguments.units or usual.kind,
        vocab_size=usual.vocab_size if arguments.vocab_size is None else arguments.vocab_size,
        lexicons=tuple(arguments.lexicon) or usual.lexicons,
        g2p=arguments.g2p or usual.g2p,
        stress=arguments.stress or usual.stress,
        words=arguments.words or usual.words,
    )
    for name, kind in (("vocab_size", "subwords"), ("stress", "phones")):
        if getattr(arguments, name) is not None and options.kind != kind:
            raise ConfigError(
                f"--{name.replace('_', '-')} is of {kind}", remedy=f"add --units {kind}"
            )
    return options
