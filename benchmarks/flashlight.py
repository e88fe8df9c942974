"""flashlight-text's decoders behind functions like ours: frames in, text out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flashlight.lib.text.decoder import (
    CriterionType,
    LexiconDecoder,
    LexiconDecoderOptions,
    LexiconFreeDecoder,
    LexiconFreeDecoderOptions,
    SmearingMode,
    Trie,
    ZeroLM,
)
from flashlight.lib.text.decoder.kenlm import KenLM
from flashlight.lib.text.dictionary import create_word_dict
from numpy.typing import NDArray

from asr.tokens import BLANK_ID, Tokenizer

__all__ = ["Words", "lexicon_free"]

Search = Callable[[NDArray[np.float32]], str]
UNKNOWN = "<unk>"


def lexicon_free(tokenizer: Tokenizer, beam_width: int, tokens: int, threshold: float) -> Search:
    """Without a language model; paths of a labelling are added up."""
    options = LexiconFreeDecoderOptions(
        beam_size=beam_width,
        beam_size_token=tokens,
        beam_threshold=threshold,
        lm_weight=0.0,
        sil_score=0.0,
        log_add=True,
        criterion_type=CriterionType.CTC,
    )
    separator = tokenizer.word_separator
    decoder = LexiconFreeDecoder(options, ZeroLM(), separator, BLANK_ID, [])

    def search(frames: NDArray[np.float32]) -> str:
        path = decoder.decode(frames.ctypes.data, *frames.shape)[0].tokens
        merged = [k for k, before in zip(path[1:], path, strict=False) if k != before]
        return tokenizer.decode(k for k in merged if k != BLANK_ID)

    return search


class Words:
    """A KenLM model and the trie of its words, made ready once."""

    def __init__(self, tokenizer: Tokenizer, words: list[str], arpa: Path) -> None:
        self._separator = tokenizer.word_separator
        self._words = create_word_dict({**{w: [list(w)] for w in words}, UNKNOWN: []})
        self._lm = KenLM(str(arpa), self._words)
        self._trie = Trie(tokenizer.size, self._separator)
        start = self._lm.start(False)
        for word in words:
            number = self._words.get_index(word)
            _, score = self._lm.score(start, number)
            self._trie.insert([*tokenizer.encode(word), self._separator], number, score)
        self._trie.smear(SmearingMode.MAX)

    def decoder(
        self, lm_weight: float, word_score: float, beam_width: int, tokens: int, threshold: float
    ) -> Search:
        """``lm_weight`` is of natural logarithms, as ours."""
        options: Any = LexiconDecoderOptions(
            beam_size=beam_width,
            beam_size_token=tokens,
            beam_threshold=threshold,
            lm_weight=lm_weight * math.log(10.0),
            word_score=word_score,
            unk_score=-math.inf,
            sil_score=0.0,
            log_add=True,
            criterion_type=CriterionType.CTC,
        )
        unknown = self._words.get_index(UNKNOWN)
        decoder = LexiconDecoder(
            options, self._trie, self._lm, self._separator, BLANK_ID, unknown, [], False
        )

        def search(frames: NDArray[np.float32]) -> str:
            words = decoder.decode(frames.ctypes.data, *frames.shape)[0].words
            return " ".join(self._words.get_entry(word) for word in words if word >= 0)

        return search
