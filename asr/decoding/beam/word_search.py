"""Prefix beam search over words, compiled: the inner loop of :mod:`asr.decoding.beam.word_decoder`.

The recursion is that of :mod:`asr.decoding.beam.search`; a prefix is another thing. It is a history
of whole words and a node of the lexicon's tree, where the word begun is. So words that are said
alike are kept apart, by the language model too, and the ways to say one word are added up: paths
meet where history and node are equal, whichever tokens the history was said with.

What a word is, is decided when the next one, or a silence, begins. Until then all words that end in
the node are one prefix, ranked by the best of them, or of those that it may become (look-ahead by
1-grams; Ortmanns et al. 1996). With p = (h, n) a prefix, k a token, y the frame's probabilities::

    blank:                log_blank'(h, n)    =  log_total(h, n) + y(blank)
    the last token k:     log_token'(h, n)    =  log_token(h, n) + y(k)
    a child c by k:       log_token'(h, c)    =  log_said + y(k)
    a word w ends in n:   log_token'(h w, c)  =  log_said + y(k), c being the root's child by k
    a silence j:          log_token'(h w, j)  =  log_said + y(j), which may last and be repeated

where log_said is log_blank(h, n) if k repeats the last token, else log_total(h, n). An unknown
word is any sequence of tokens, each as probable as the other, with a node for each last token.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled
from asr.decoding.beam.frames import NEVER, add_blank, find_likely, grow
from asr.decoding.beam.pruning import any_complete, choose_rows
from asr.decoding.beam.scoring import Options, WordBoosts
from asr.decoding.beam.sharing import CHECK, MAX_OPEN, keep_branch, note_shared, what_is_shared
from asr.decoding.beam.tables import NONE, WORD_PREFIX, Records
from asr.decoding.beam.tree import ROOT
from asr.decoding.beam.word_ends import end_words
from asr.decoding.beam.word_growth import extend_all
from asr.decoding.beam.word_histories import keep_chosen, more_places
from asr.decoding.beam.words import WordGrammar
from asr.tokens import BLANK_ID

__all__ = ["search_words", "start_word_beam"]

ROW = 0  # of the empty history


@compiled
def search_words(
    log_probs: NDArray[np.float64],
    ends: bool,
    beam: Records,
    size: int,
    histories: Records,
    rows: int,
    places: NDArray[np.int32],
    marks: NDArray[np.int32],
    frame: int,
    cache: Records,
    options: Options,
    grammar: WordGrammar,
    boosts: WordBoosts,
    flag: NDArray[np.uint8],
) -> tuple[
    int,
    Records,
    int,
    Records,
    int,
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.float64],
]:
    """Go on with a search: take the next frames, ``log_probs (T, V)``.

    Args:
        ends: whether they are the last: then word sequences are looked for.
        beam, size: the prefixes, ``(K,)`` or longer, and K.
        histories, rows: all histories, and how many there are.
        places: where a history is found by its parent and word.
        marks: what was shared of late, which is changed.
        frame: how many frames were taken before.
        cache: what the language model said before, which is changed.

    Returns:
        The number of frames taken, less than T if ``flag`` was set or nothing is possible in the
        next; beam, size, histories, rows and places after them; and of word sequences in no order
        ``(k, 2)``, the row of all but the last word and the last word, both NONE where there is
        none, and ``(k, 3)``, the acoustic score, the language model's and the bonus.
    """
    T, V = log_probs.shape
    no_words, no_scores = np.empty((0, 2), dtype=np.int32), np.empty((0, 3))
    next_beam = np.empty(256, dtype=WORD_PREFIX)
    table = np.zeros((1024, 2), dtype=np.int32)
    likely, is_likely = np.empty(V, dtype=np.int32), np.zeros(V, dtype=np.bool_)
    for t in range(T):
        if flag[0]:
            return t, beam, size, histories, rows, places, no_words, no_scores
        if (frame + t) % CHECK == 0:
            size = _look_back(beam, size, histories, marks, frame + t, grammar.complete)
        count = find_likely(log_probs[t], options.token_min_log_prob, likely)
        if count == 0 and log_probs[t, BLANK_ID] > NEVER:
            add_blank(beam, size, log_probs[t, BLANK_ID])
            continue
        for k in likely[:count]:
            is_likely[k] = True
        found, next_beam, table = extend_all(
            t + 1,
            log_probs[t],
            likely[:count],
            is_likely,
            beam,
            size,
            next_beam,
            table,
            cache,
            options,
            grammar,
            boosts,
        )
        for k in likely[:count]:
            is_likely[k] = False
        chosen = choose_rows(next_beam[:found], options, grammar.complete, True)
        if not len(chosen):
            return t, beam, size, histories, rows, places, no_words, no_scores
        size = len(chosen)
        if len(beam) < size:
            beam = np.empty(2 * size, dtype=WORD_PREFIX)
        histories = grow(histories, rows, size)
        if len(places) < 2 * (rows + size):
            places = more_places(histories, rows, size)
        rows = keep_chosen(next_beam, chosen, beam, histories, places, rows, frame + t)
    if not ends:
        return T, beam, size, histories, rows, places, no_words, no_scores
    words, scores = end_words(beam, size, options, grammar, boosts)
    return T, beam, size, histories, rows, places, words, scores


def start_word_beam(grammar: WordGrammar) -> Records:
    """The empty history at the root, in the first slot."""
    beam = np.zeros(64, dtype=WORD_PREFIX)
    empty = beam[:1]
    empty["log_token"] = NEVER
    empty["row"], empty["parent"], empty["word"], empty["lexicon_node"] = ROW, NONE, NONE, ROOT
    empty["lm_state"], empty["phrase_node"] = grammar.start, ROOT
    return beam


@compiled
def _look_back(
    beam: Records,
    size: int,
    histories: Records,
    marks: NDArray[np.int32],
    frame: int,
    complete: NDArray[np.int32],
) -> int:
    """Note what all prefixes share by now; where they differ in what is too old, keep those that
    agree with the best. Returns how many there are."""
    common, oldest = what_is_shared(beam, size, histories, frame)
    while frame - oldest > MAX_OPEN:
        rivals = beam[:size].copy()
        kept = keep_branch(rivals, size, histories, common)
        if not any_complete(rivals[:kept], complete):
            break  # the utterance could not end
        size = kept
        for slot in range(size):
            beam[slot] = rivals[slot]
        common, oldest = what_is_shared(beam, size, histories, frame)
    note_shared(marks, common)
    return size
