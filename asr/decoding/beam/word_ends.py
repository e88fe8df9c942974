"""Which word sequences the prefixes of a beam are, when no more frames come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled
from asr.decoding.beam.frames import add_logs
from asr.decoding.beam.scoring import Options, WordBoosts
from asr.decoding.beam.tables import WORD_PREFIX, Records
from asr.decoding.beam.tree import ROOT
from asr.decoding.beam.word_scores import end_phrases, end_word
from asr.decoding.beam.words import WordGrammar
from asr.lm.trie import step

__all__ = ["end_words"]


@compiled
def end_words(
    beam: Records, size: int, options: Options, grammar: WordGrammar, boosts: WordBoosts
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Word sequences ``(k, 2)`` and their scores ``(k, 3)``, the end of the sentence scored."""
    M, J = len(grammar.below), len(grammar.silences)
    most = 0
    for slot in range(size):
        node = beam[slot].lexicon_node
        most += grammar.begins[node + 1] - grammar.begins[node] if 0 < node < M else 1
    words = np.empty((most, 2), dtype=np.int32)
    scores = np.empty((most, 3))
    scratch = np.empty(1, dtype=WORD_PREFIX)
    count = 0
    for slot in range(size):
        prefix = beam[slot]
        node = prefix.lexicon_node
        waits = node == ROOT or M <= node < M + J
        begin, end = 0, 1
        if 0 < node < M:
            begin, end = grammar.begins[node], grammar.begins[node + 1]
        for i in range(begin, end):
            scratch[0] = prefix
            ended = scratch[0]
            if not waits:
                word = grammar.words[i] if node < M else grammar.unknown
                end_word(ended, prefix, word)
                if grammar.has_lm:
                    lm_word = grammar.lm_words[i] if node < M else grammar.lm_unknown
                    log10, after = step(grammar.trie, prefix.lm_state, lm_word)
                    ended.lm_score += options.lm_weight * log10
                    ended.lm_state = after
                if boosts.phrases.any:
                    end_phrases(ended, word, boosts)
            same = 0
            while same < count and (words[same, 0] != ended.parent or words[same, 1] != ended.word):
                same += 1
            if same < count:  # said in another way, or with a silence at the end
                scores[same, 0] = add_logs(scores[same, 0], prefix.log_total)
                continue
            if grammar.has_lm:
                log10, _ = step(grammar.trie, ended.lm_state, grammar.end)
                ended.lm_score += options.lm_weight * log10
            words[count, 0], words[count, 1] = ended.parent, ended.word
            scores[count, 0] = prefix.log_total
            scores[count, 1], scores[count, 2] = ended.lm_score, ended.bonus
            count += 1
    return words[:count], scores[:count]
