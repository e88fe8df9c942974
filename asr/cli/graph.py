"""``asr graph``: make a decoding graph from a language model, for ``asr transcribe --graph``."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr.cli.results import inputs_of
from asr.files.write import check_target, check_writable

__all__ = ["add_graph"]


def add_graph(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the arguments of the command, and its function as the default ``run``."""
    parser.description = (
        "Make a decoding graph from a language model and, if words are not spelled with the "
        "bundle's tokens, a lexicon. Needs the extra wfst."
    )
    parser.set_defaults(run=_graph)
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of the model bundle")
    parser.add_argument(
        "--lm", metavar="ARPA", required=True, help="language model, may be packed with gzip"
    )
    parser.add_argument(
        "--lexicon",
        metavar="PATH",
        help='lines "word token token …"; a word that is said in several ways has a line for each '
        "(default: words are spelled with the bundle's characters, or are its phones)",
    )
    parser.add_argument("--output", metavar="GRAPH", required=True, help="folder to write")


def _graph(options: argparse.Namespace) -> int:
    from asr.bundle import load_bundle
    from asr.decoding.wfst.graph import check_place, save_graph
    from asr.decoding.wfst.make import make_graph

    check_place(Path(options.output).absolute())
    check_target(options.output, inputs_of(options))
    check_writable(options.output)
    graph = make_graph(load_bundle(options.bundle).tokenizer, options.lm, options.lexicon)
    save_graph(graph, options.output)
    for name in ("words", "states", "arcs"):
        print(f"{name:<8} {graph.metadata[name]}")
    return 0
