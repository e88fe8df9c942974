"""Which tokens a language model's words are said with: from a file, or by their spelling."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from asr.decoding.lexicon import Labels, Lexicon, read_lexicon, separator_of
from asr.lm.ngrams import BEGIN, END, UNKNOWN
from asr.subwords import MARK
from asr.tokens import SPACE, Tokenizer
from asr.types import GraphError

__all__ = ["disambiguated", "lexicon_for"]

MARKS = (BEGIN, END)
FEW = 5  # examples in a message


def lexicon_for(
    vocabulary: Sequence[str], tokenizer: Tokenizer, path: str | os.PathLike[str] | None
) -> Lexicon:
    """The pronunciations of a language model's words.

    They are those of the file ``path``. Without one, the words are the tokens themselves where the
    vocabulary is one of phones, or the words have ``<space>`` among them; else they are spelled.
    ``<unk>`` may lack a pronunciation: then it is never heard.

    Raises:
        GraphError: the file is broken, or words have no pronunciation.
    """
    given = None if path is None else read_lexicon(path, tokenizer, GraphError)
    words = [word for word in vocabulary if word not in MARKS]
    units = tokenizer.kind == "phones" or any(map(_is_mark_of(tokenizer), words))
    if given is not None:
        known: Mapping[str, tuple[Labels, ...]] = given.pronunciations
    elif units:
        known = {token: ((k,),) for k, token in enumerate(tokenizer.tokens) if k}
    else:
        known = {w: (tuple(tokenizer.encode(w)),) for w in words if not tokenizer.unknown(w)}
    missing = [word for word in words if word not in known and word != UNKNOWN]
    if missing:
        raise _missing(missing, len(words), path, units)
    return Lexicon(
        {word: known[word] for word in words if word in known},
        None if given is None and units else separator_of(tokenizer),
    )


def _is_mark_of(tokenizer: Tokenizer) -> Callable[[str], bool]:
    """What tells that a language model's words are the tokens: a token for the space, or in one."""
    if tokenizer.kind == "subwords":
        return lambda word: word.startswith(MARK)
    return lambda word: word == SPACE and tokenizer.word_separator is not None


def _missing(
    words: Sequence[str], of: int, path: str | os.PathLike[str] | None, units: bool
) -> GraphError:
    examples = ", ".join(map(repr, words[:FEW])) + (", …" if len(words) > FEW else "")
    count = f"{len(words)} of {of} words of the language model"
    if path is not None:
        return GraphError(
            f"{count} are not in the lexicon: {examples}",
            where=str(path),
            remedy="add them, or make the language model with the lexicon's words alone",
        )
    how = "are no tokens of the bundle" if units else "have symbols that the bundle does not know"
    return GraphError(
        f"{count} {how}: {examples}",
        remedy="give their pronunciations with --lexicon, or a model of words that it knows",
    )


def disambiguated(entries: Iterable[tuple[int, Labels]]) -> list[tuple[int, Labels, int]]:
    """Give each pronunciation ``(word, labels)`` the number of a mark to end in, 0 for none.

    Words that are said alike get different marks, and what another pronunciation begins with gets
    one, so that the lexicon can be determinised (Mohri, Pereira & Riley 2002, section 3.1).
    """
    entries = list(entries)
    times = Counter(labels for _, labels in entries)
    beginnings = {labels[:n] for labels in times for n in range(1, len(labels))}
    used: Counter[Labels] = Counter()
    marked = []
    for word, labels in entries:
        if times[labels] > 1 or labels in beginnings:
            used[labels] += 1
        marked.append((word, labels, used[labels]))
    return marked
