"""``asr lm``: make n-gram language models, prune them, see how well they foresee a text."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from asr.cli.results import inputs_of
from asr.cli.terminal import progress
from asr.files.write import check_target, check_writable
from asr.lm.ngrams import COMPACT, Ngrams
from asr.tokens import Tokenizer
from asr.types import ConfigError, CorpusError

__all__ = ["add_lm"]

UNITS_HELP = (
    "words or phones, between spaces; characters, <space> among them; or the subwords of --tokens "
    "(default: words)"
)


def add_lm(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the commands, each with its function as the default ``run``."""
    parser.description = "Make n-gram language models and measure them."
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="make a model from text"))
    _add_prune(commands.add_parser("prune", help="leave out n-grams that are hardly needed"))
    _add_convert(commands.add_parser("convert", help="write a model in another form"))
    _add_score(commands.add_parser("score", help="print the perplexity of a text"))


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Make a language model from text, a sentence a line, by interpolated modified Kneser-Ney "
        "smoothing. Texts may be packed with gzip or xz."
    )
    parser.set_defaults(run=_train)
    _add_texts(parser)
    _add_output(parser)
    parser.add_argument(
        "--order", type=int, default=3, metavar="N", help="length of n-grams (default: 3)"
    )
    words = parser.add_mutually_exclusive_group()
    words.add_argument("--vocab-limit", type=int, metavar="N", help="only the N commonest words")
    words.add_argument("--vocab", metavar="PATH", help="only the words of this file")
    parser.add_argument(
        "--prune",
        type=int,
        nargs="+",
        default=[],
        metavar="COUNT",
        help="for each order, leave out n-grams seen this often or less: 0 0 1",
    )
    _add_threshold(parser)
    parser.add_argument(
        "--discount-fallback",
        type=float,
        nargs="*",
        metavar="D",
        help="for texts too small for their counts to give discounts: those of n-grams seen once, "
        "twice and more often (default where named: 0.5 1 1.5)",
    )


def _add_prune(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Leave out the n-grams of a model without which perplexity hardly rises, as SRILM's "
        "`ngram -prune` does. `asr lm train --threshold` chooses better, for it has the text."
    )
    parser.set_defaults(run=_prune)
    _add_model(parser)
    _add_threshold(parser, required=True)
    _add_output(parser)


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write a model in another form. ARPA files are for all tools; a file that ends in "
        f"{COMPACT} takes a fifth of the room of a packed one and rounds logarithms to 1/32."
    )
    parser.set_defaults(run=_convert)
    _add_model(parser)
    _add_output(parser)


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print how well a language model foresees a text: its perplexity, with and without words "
        "that the model does not know."
    )
    parser.set_defaults(run=_score)
    _add_model(parser)
    _add_texts(parser)
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="first a line for each sentence: log10 of its probability, perplexity, unknown words, "
        "and its words, between tabs",
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=f"ARPA file, packed or not, or {COMPACT}")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        metavar="PATH",
        required=True,
        help=f"ARPA file to write, packed if it ends in .gz, or compact form if in {COMPACT}",
    )


def _add_threshold(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    parser.add_argument(
        "--threshold",
        type=float,
        required=required,
        metavar="PART",
        help="leave out n-grams without which perplexity rises by less than this part (1e-8)",
    )


def _add_texts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "texts", metavar="TEXT", nargs="+", help="UTF-8, a sentence a line; - for standard input"
    )
    parser.add_argument("--units", default="words", help=UNITS_HELP)
    parser.add_argument("--tokens", metavar="PATH", help="tokens.txt of a model of subwords")


def _train(options: argparse.Namespace) -> int:
    from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
    from asr.lm.text import read_vocabulary

    _check_output(options)
    fallback = options.discount_fallback
    if fallback and len(fallback) != len(FALLBACK):
        raise ConfigError(
            f"{len(fallback)} fallback discounts are given", remedy="give three, or none"
        )
    config = KneserNeyConfig(
        order=options.order,
        prune=tuple(options.prune),
        vocab_limit=options.vocab_limit,
        vocabulary=None if options.vocab is None else read_vocabulary(options.vocab),
        threshold=options.threshold,
        discount_fallback=None if fallback is None else tuple(fallback) or FALLBACK,
    )
    try:
        ngrams = estimate(_sentences(options), config)
    except CorpusError as error:
        raise error.at(", ".join(options.texts)) from None
    _write(ngrams, options.output)
    return 0


def _prune(options: argparse.Namespace) -> int:
    from asr.lm.model import read_ngrams
    from asr.lm.prune import check_threshold, prune

    check_threshold(options.threshold)
    _check_output(options)
    whole = read_ngrams(options.model)
    pruned = prune(whole, options.threshold)
    for order, (before, after) in enumerate(zip(whole.tables, pruned.tables, strict=True), start=1):
        print(f"{order}-grams: {len(after.words)} of {len(before.words)}")
    _write(pruned, options.output)
    return 0


def _convert(options: argparse.Namespace) -> int:
    from asr.lm.model import read_ngrams

    _check_output(options)
    _write(read_ngrams(options.model), options.output)
    return 0


def _write(ngrams: Ngrams, output: str) -> None:
    """In the form that the name ends in."""
    from asr.lm.arpa import write_arpa

    if output.endswith(COMPACT):
        from asr.lm.model import LanguageModel

        LanguageModel(ngrams).save_compact(output)
        return
    with progress(sum(len(table.words) for table in ngrams.tables), "writing") as (advance, _):
        write_arpa(ngrams, output, advance)


def _check_output(options: argparse.Namespace) -> None:
    """Before the work rather than after it."""
    output = Path(options.output)
    if output.is_dir():
        raise ConfigError("this is a folder", where=str(output), remedy="give --output a file name")
    if not output.parent.is_dir():
        raise ConfigError("there is no such folder", where=str(output.parent), remedy="make it")
    check_target(output, inputs_of(options))
    check_writable(output)


def _sentences(options: argparse.Namespace) -> Iterator[list[bytes]]:
    """The texts, with a bar that shows how far they are read."""
    from asr.lm.text import read_sentences, size_on_disk

    with progress(size_on_disk(options.texts), "reading") as (advance, _):
        yield from read_sentences(options.texts, options.units, advance, _subwords(options))


def _subwords(options: argparse.Namespace) -> Tokenizer | None:
    return None if options.tokens is None else Tokenizer.load(options.tokens)


def _score(options: argparse.Namespace) -> int:
    from asr.lm.model import LanguageModel
    from asr.lm.perplexity import TextScore, score_sentence
    from asr.lm.text import read_sentences

    model = LanguageModel.load(options.model)
    total = TextScore()
    for units in read_sentences(options.texts, options.units, tokenizer=_subwords(options)):
        words = [word.decode() for word in units]
        score = score_sentence(model, words)
        total += score
        if options.verbose:
            figures = f"{score.log_prob:.4f}\t{score.perplexity:.4g}\t{score.unknown}"
            print(f"{figures}\t{' '.join(words)}")
    if not total.sentences:
        raise CorpusError("the text is empty", where=", ".join(options.texts))
    print(
        f"sentences      {total.sentences}\n"
        f"{options.units:<14} {total.words}\n"
        f"unknown        {total.unknown} ({total.unknown_rate:.2%})\n"
        f"perplexity     {total.perplexity:.6g}\n"
        f"  of known     {total.known_perplexity:.6g}"
    )
    return 0
