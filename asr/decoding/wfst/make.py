"""A decoding graph from an ARPA file and a lexicon."""

from __future__ import annotations

import os
from pathlib import Path

from asr.decoding.wfst.compose import compose_graph
from asr.decoding.wfst.graph import EPSILON, Graph
from asr.decoding.wfst.kaldi import kaldi
from asr.decoding.wfst.pronunciations import lexicon_for
from asr.lm.model import read_ngrams
from asr.tokens import Tokenizer

__all__ = ["make_graph"]


def make_graph(
    tokenizer: Tokenizer,
    model: str | os.PathLike[str],
    lexicon: str | os.PathLike[str] | None = None,
) -> Graph:
    """Compose the graph of the language model in the file ``model``, ARPA or compact.

    Raises:
        ConfigError: the packages of the extra ``wfst`` are not installed.
        LanguageModelError: the language model is missing or broken.
        GraphError: the lexicon is, or lacks words of the language model.
    """
    for package in ("kaldifst", "kaldilm"):  # before the work rather than after it
        kaldi(package)
    ngrams = read_ngrams(model)
    words = lexicon_for(ngrams.vocabulary, tokenizer, lexicon)
    fst = compose_graph(ngrams, words, tokenizer.size)
    metadata = {
        "language_model": Path(model).name,
        "lexicon": None if lexicon is None else Path(lexicon).name,
        "words": len(words.pronunciations),
        "order": ngrams.order,
        "states": fst.num_states,
        "arcs": sum(fst.num_arcs(state) for state in range(fst.num_states)),
    }
    labels = (EPSILON, *ngrams.vocabulary)
    return Graph(fst, labels, tokenizer, None if lexicon is None else words, metadata)
