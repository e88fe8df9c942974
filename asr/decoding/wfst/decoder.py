"""Search in a decoding graph: the best path through a lexicon and a language model.

Miao, Gowayyed & Metze, "EESEN: end-to-end speech recognition using deep RNN models and WFST-based
decoding" (2015), section 4. The search is Kaldi's token passing with a beam, by kaldi-decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.decoding.config import WfstOptions
from asr.decoding.inputs import checked
from asr.decoding.lexicon import Lexicon
from asr.decoding.spans import hypothesis, path_spans, squeeze, word_of
from asr.decoding.stopping import Stop
from asr.decoding.stream import WholeStream
from asr.decoding.wfst.graph import Graph, load_graph
from asr.decoding.wfst.kaldi import kaldi
from asr.tokens import Tokenizer
from asr.types import DecodingError, Hypothesis

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["WfstDecoder"]

# The compiled search keeps the interpreter to itself, so that a request to stop can only be made,
# and seen, between two calls of it.
FRAMES_AT_ONCE = 1
MIN_ACTIVE = 20  # states kept in any case, as Kaldi does


@dataclass(frozen=True)
class _Path:
    """The best path: a token id a frame, words, its log-probabilities, and whether it ends a
    sentence."""

    tokens: NDArray[np.int64]
    words: tuple[str, ...]
    acoustic: float
    language_model: float
    whole: bool


@dataclass(frozen=True)
class WfstDecoder:
    """Finds the most probable path of CTC that spells a sentence of the language model.

    The score is ``acoustic_scale`` times the path's log-probability, plus that of its words: the
    maximum over paths, where beam and prefix search sum. Where the beam holds no whole sentence at
    the end, as in audio cut within a word, the best part of one is given; its last word may be cut.
    """

    options: WfstOptions
    tokenizer: Tokenizer
    seconds_per_frame: float

    def __post_init__(self) -> None:
        """Read the graph.

        Raises:
            ConfigError, GraphError: see :func:`asr.decoding.wfst.graph.load_graph`.
        """
        _ = self.graph

    @cached_property
    def graph(self) -> Graph:
        """The decoding graph."""
        return load_graph(self.options.graph, self.tokenizer)

    def begin(self, stop: Stop | None = None, *, first_frame: int = 0) -> WholeStream:
        """See :meth:`asr.decoding.Decoder.begin`: the stream decodes when it finishes."""

        def decode_one(frames: NDArray[np.float32], stop: Stop) -> list[Hypothesis]:
            return [self._hypothesis(frames, self._search(frames, "the stream", stop))]

        size = self.tokenizer.size
        return WholeStream(decode_one, size, self.seconds_per_frame, stop, first_frame)

    def decode(
        self, log_probs: Tensor, lengths: Tensor, stop: Stop | None = None
    ) -> list[list[Hypothesis]]:
        """Return one hypothesis for each utterance of ``log_probs (B, T, V)``.

        Raises:
            DecodingError: see :func:`asr.decoding.inputs.checked`; or no path through the graph is
                possible because log-probabilities are minus infinity.
            StoppedError: asked for by ``stop``.
        """
        utterances = checked(log_probs, lengths, self.tokenizer.size)
        return [
            [
                self._hypothesis(
                    frames, self._search(frames, f"utterance {b} of the batch", stop or Stop())
                )
            ]
            for b, frames in enumerate(utterances)
        ]

    def _search(self, frames: NDArray[np.float32], where: str, stop: Stop) -> _Path:
        """The best path through ``frames (T, V)``."""
        decoder, fst = kaldi("kaldi_decoder"), kaldi("kaldifst")
        config, graph = self.options, self.graph
        options = decoder.FasterDecoderOptions(
            beam=config.search_beam,
            max_active=config.max_active,
            min_active=min(MIN_ACTIVE, config.max_active - 1),
        )
        search = decoder.FasterDecoder(graph.fst, options)
        search.init_decoding()
        if len(frames):
            scores = decoder.DecodableCtc(np.ascontiguousarray(config.acoustic_scale * frames))
        for _ in frames:
            stop.check()
            search.advance_decoding(scores, FRAMES_AT_ONCE)
        stop.check()
        found, best = search.get_best_path()
        if not found:
            raise DecodingError(
                f"no path through the graph is possible for {where}",
                remedy="give log-probabilities above minus infinity",
            )
        _, heard, said, weight = fst.get_linear_symbol_sequence(best)
        tokens = np.array(heard, dtype=np.int64) - 1
        acoustic = frames[np.arange(len(frames)), tokens].sum(dtype=np.float64)
        words = tuple(graph.words[label] for label in said)
        return _Path(tokens, words, float(acoustic), -weight.value1, search.reached_final())

    def _hypothesis(self, frames: NDArray[np.float32], path: _Path) -> Hypothesis:
        lexicon = self.graph.lexicon
        spans = path_spans(path.tokens)
        if lexicon is not None:
            ends = word_ends([k for k, _, _ in spans], path.words, lexicon, whole=path.whole)
            spans = spans[: ends[-1]] if ends else []
        else:
            spans = squeeze(spans, self.tokenizer.word_separator)
        score = self.options.acoustic_scale * path.acoustic + path.language_model
        found = hypothesis(frames, spans, score, self.tokenizer, self.seconds_per_frame)
        found = replace(found, lm_score=path.language_model)
        if lexicon is None:
            return found
        starts = [0, *(end + (lexicon.separator is not None) for end in ends)]
        said = zip(path.words, starts, ends, strict=False)
        words = tuple(word_of(word, found.tokens[a:b]) for word, a, b in said)
        return replace(found, text=" ".join(word.text for word in words), words=words)


def word_ends(
    labels: Sequence[int], words: Sequence[str], lexicon: Lexicon, *, whole: bool
) -> list[int]:
    """Where in ``labels`` (S,) each of ``words`` ends, by the pronunciations of the lexicon.

    Where they are not ``whole``, the last word may be cut, and labels of one not yet known may
    follow; words without a label are left out.
    """
    gap = 0 if lexicon.separator is None else 1
    reached: list[dict[int, int]] = [{-gap: 0}]  # of each word, its ends with the end before it
    for word in words:
        ends: dict[int, int] = {}
        for before in reached[-1]:
            start = before + gap
            for way in lexicon.pronunciations[word]:
                said = tuple(labels[start : start + len(way)])
                whole_way = len(said) == len(way)  # shorter only at the end of all labels
                if said and said == way[: len(said)] and (whole_way or not whole):
                    ends.setdefault(start + len(said), before)
        if not ends:
            break
        reached.append(ends)
    found = []
    end = max(reached[-1])
    for ends in reversed(reached[1:]):
        found.append(end)
        end = ends[end]
    return found[::-1]
