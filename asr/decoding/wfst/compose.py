"""The transducers T, L and G, and their composition.

Labels of tokens are their ids; the blank's, 0, means no label, and no machine but T hears blanks.
Labels of words are 1 and up. Behind both come marks, #0, #1 and so on: #0 is heard where the
language model backs off, the others end pronunciations that another begins with or equals. Without
them neither could be determinised; T lets them pass without a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from asr.decoding.lexicon import Lexicon
from asr.decoding.wfst.kaldi import kaldi
from asr.decoding.wfst.pronunciations import disambiguated
from asr.lm.arpa import write_arpa
from asr.lm.model import LanguageModel
from asr.lm.ngrams import BEGIN, END, Ngrams
from asr.quiet import quiet_cpp
from asr.tokens import BLANK_ID
from asr.types import GraphError

__all__ = ["compose_graph", "grammar", "lexicon_machine", "token_machine"]

NOTHING = 0
# How far weights may differ and count as equal: more than the rounding of float32 sums, less than
# what changes a score. The tools' own 1/1024 changes scores in the third digit.
DELTA = 1e-5


def compose_graph(ngrams: Ngrams, lexicon: Lexicon, vocab_size: int) -> Any:
    """TLG, which hears token ``k`` of V as label ``1 + k`` and says word ``i`` as label ``1 + i``.

    Words are numbered as in the vocabulary of ``ngrams``. Weights are natural logarithms of
    probabilities of words, negated, and no others.

    Raises:
        ConfigError: the packages are not installed.
        LanguageModelError: ``ngrams`` are no language model.
        GraphError: no sentence of the language model can be said.
    """
    fst = kaldi("kaldifst")
    words = {word: 1 + i for i, word in enumerate(ngrams.vocabulary)}
    entries = disambiguated(
        (words[word], way) for word, ways in lexicon.pronunciations.items() for way in ways
    )
    marks = 1 + max((mark for *_, mark in entries), default=0)
    back_off = 1 + len(words)
    lg = fst.compose(
        lexicon_machine(entries, lexicon.separator, (vocab_size, back_off)),
        grammar(ngrams, back_off),
    )
    if not lg.num_states:
        raise GraphError(
            "no sentence of the language model can be said with the lexicon",
            where=ngrams.source,
            remedy="give a language model and a lexicon of the same words",
        )
    fst.determinize_star(lg, delta=DELTA)
    fst.minimize_encoded(lg, delta=DELTA)
    fst.arcsort(lg, "ilabel")
    tlg = fst.compose(token_machine(vocab_size, marks), lg)
    fst.minimize_encoded(tlg, delta=DELTA)
    fst.arcsort(tlg, "ilabel")
    return fst.StdConstFst(tlg)


def token_machine(vocab_size: int, marks: int) -> Any:
    """T: any path of CTC to the tokens it spells (Graves et al. 2006, section 3.1).

    Unlike EESEN's, it tells a repeated token from one that lasts: only a blank lies between two.
    State k is that after a frame of token k.
    """
    fst = kaldi("kaldifst")
    machine = fst.StdVectorFst()
    for _ in range(vocab_size):
        _add_state(machine, final=True)
    machine.start = BLANK_ID
    for before in range(vocab_size):
        for k in range(vocab_size):
            said = NOTHING if k == before else k  # the blank's label says nothing by itself
            machine.add_arc(before, fst.StdArc(1 + k, said, 0.0, k))
        for mark in range(marks):
            machine.add_arc(before, fst.StdArc(NOTHING, vocab_size + mark, 0.0, before))
    fst.arcsort(machine, "olabel")
    return machine


def lexicon_machine(
    entries: Sequence[tuple[int, tuple[int, ...], int]],
    separator: int | None,
    back_off: tuple[int, int],
) -> Any:
    """L: tokens of a sentence to its words, ``entries`` as :func:`disambiguated` gives them.

    ``back_off`` are the labels of #0 among tokens and among words. The mark n has the label of #0
    among tokens plus n.
    """
    fst = kaldi("kaldifst")
    machine = fst.StdVectorFst()
    begin = _add_state(machine)  # of a sentence
    next_word = _add_state(machine)
    end = _add_state(machine, final=True)
    machine.start = begin
    after_word = next_word if separator is None else _add_state(machine)
    arcs = [(begin, NOTHING, NOTHING, next_word), (begin, NOTHING, NOTHING, end)]
    if separator is not None:
        arcs.append((after_word, separator, NOTHING, next_word))
    arcs.append((after_word, NOTHING, NOTHING, end))
    arcs += [(state, *back_off, state) for state in (next_word, end)]
    for state, heard, said, after in arcs:
        machine.add_arc(state, fst.StdArc(heard, said, 0.0, after))
    for word, labels, mark in entries:
        *first, last = [*labels, back_off[0] + mark] if mark else labels
        state, said = next_word, word
        for label in first:
            middle = _add_state(machine)
            machine.add_arc(state, fst.StdArc(label, said, 0.0, middle))
            state, said = middle, NOTHING
        machine.add_arc(state, fst.StdArc(last, said, 0.0, after_word))
    fst.arcsort(machine, "olabel")
    return machine


def _add_state(machine: Any, *, final: bool = False) -> int:
    state: int = machine.add_state()
    if final:
        machine.set_final(state, 0.0)
    return state


def grammar(ngrams: Ngrams, back_off: int) -> Any:
    """G: sentences with their probabilities; #0, labelled ``back_off``, is heard at each back-off.

    Raises:
        LanguageModelError: ``ngrams`` are no language model.
    """
    LanguageModel(ngrams)  # complains with the number of the line
    # Under other names no word can be taken for a mark.
    names = [w if w in (BEGIN, END) else f"w{i}" for i, w in enumerate(ngrams.vocabulary)]
    table = [("<eps>", NOTHING), *((name, 1 + i) for i, name in enumerate(names)), ("#0", back_off)]
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_arpa(replace(ngrams, vocabulary=tuple(names)), folder / "lm.arpa")
        lines = "".join(f"{symbol} {label}\n" for symbol, label in table)
        (folder / "words.txt").write_text(lines, encoding="utf-8")
        with quiet_cpp():
            kaldi("kaldilm").arpa2fst(
                str(folder / "lm.arpa"),
                str(folder / "G.fst"),
                disambig_symbol="#0",
                read_symbol_table=str(folder / "words.txt"),
            )
        return kaldi("kaldifst").StdVectorFst.read(str(folder / "G.fst"))
