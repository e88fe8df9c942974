"""The files that NIST's sclite compares: trn, or stm and ctm.

    sclite -s -i spu_id -r REF.trn trn -h HYP.trn trn
    sclite -s -r REF.stm stm -h HYP.ctm ctm

Without ``-s`` it ignores case. With ``-D``, a word in parentheses in a reference may be missing.
Each utterance is a recording of its own in stm and ctm, and both have them in the order of
:func:`nist_id`, byte by byte.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

from asr.types import Word

__all__ = ["ctm_lines", "nist_id", "nist_word", "stm_line", "trn_line"]

# Alternatives, optional words, labels, comments, the word that is none; and what escapes them.
SPECIAL = frozenset("{}()<>@;/\\%")
CHANNEL = "1"
UNKNOWN = "unknown"


def nist_word(word: str) -> str:
    """``word`` with the characters that mean something to sclite as ``%`` and two digits."""
    return "".join(f"%{ord(c):02x}" if c in SPECIAL or c.isspace() else c for c in word)


def nist_id(name: str | None) -> str:
    """The name of an utterance or a speaker as sclite takes it."""
    return nist_word(name) if name else UNKNOWN


def trn_line(
    name: str, speaker: str | None, words: Iterable[str], optional: Container[str] = ()
) -> str:
    """A line of an utterance; sclite takes what stands before the first hyphen for the speaker.

    Words that are ``optional`` stand in parentheses.
    """
    who = nist_id(speaker).replace("-", "%2d")
    return f"{' '.join([*_marked(words, optional), ''])}({who}-{nist_id(name)})\n"


def stm_line(
    name: str,
    speaker: str | None,
    duration: float,
    words: Iterable[str],
    optional: Container[str] = (),
) -> str:
    """A line of a reference that lasts ``duration`` seconds; see :func:`trn_line`."""
    place = f"{nist_id(name)} {CHANNEL} {nist_id(speaker)} 0.000 {duration:.3f}"
    return " ".join([place, *_marked(words, optional)]) + "\n"


def _marked(words: Iterable[str], optional: Container[str]) -> Iterator[str]:
    for word in words:
        yield f"({nist_word(word)})" if word in optional else nist_word(word)


def ctm_lines(name: str, duration: float, words: Sequence[Word]) -> list[str]:
    """A line for each word of an utterance of ``duration`` seconds, none beyond its end."""
    lines = []
    for word in words:
        start = min(word.start, duration)
        length = max(min(word.end, duration) - start, 0.0)
        lines.append(
            f"{nist_id(name)} {CHANNEL} {start:.3f} {length:.3f} {nist_word(word.text)} "
            f"{word.confidence:.3f}\n"
        )
    return lines
