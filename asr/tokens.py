"""Text to token ids and back. The blank of CTC is always id 0."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import pairwise

from asr.files.read import read_text
from asr.files.write import write_text
from asr.types import SPACE, TokenError

__all__ = ["BLANK", "BLANK_ID", "SPACE", "Tokenizer", "min_frames"]

BLANK = "<blank>"
BLANK_ID = 0
KINDS = ("characters", "phones")
HEADER = "# kind: "


class Tokenizer:
    """A vocabulary of characters, or of phones whose names stand in the text between spaces.

    Args:
        tokens: names by id, the blank first.
        kind: ``"characters"`` or ``"phones"``.

    Raises:
        TokenError: the list is not a vocabulary of that kind.
    """

    def __init__(self, tokens: Sequence[str], kind: str = "characters") -> None:
        _check(tokens, kind)
        self.tokens = tuple(tokens)
        self.kind = kind
        self._ids = {token: number for number, token in enumerate(self.tokens)}

    @classmethod
    def from_texts(cls, texts: Iterable[str], kind: str = "characters") -> Tokenizer:
        """The smallest vocabulary that spells ``texts``, in sorted order."""
        symbols = {symbol for text in texts for symbol in _symbols(text, kind)}
        return cls([BLANK, *sorted(symbols, key=lambda s: (s != SPACE, s))], kind)

    @property
    def size(self) -> int:
        """V, with the blank."""
        return len(self.tokens)

    @property
    def blank(self) -> int:
        """The blank's id."""
        return 0

    @property
    def word_separator(self) -> int | None:
        """The space's id, where the vocabulary has one."""
        return self._ids.get(SPACE) if self.kind == "characters" else None

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``.

        Raises:
            TokenError: the text has symbols outside the vocabulary; the message names them.
        """
        if unknown := self.unknown(text):
            raise TokenError(
                f"unknown symbols {', '.join(map(repr, unknown))}",
                remedy="normalise the text or make the vocabulary from texts that have them",
            )
        return [self._ids[symbol] for symbol in _symbols(text, self.kind)]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``, the inverse of :meth:`encode`; nothing is collapsed.

        Raises:
            TokenError: an id is the blank or outside the vocabulary.
        """
        symbols = []
        for number in ids:
            if not 0 < number < self.size:
                raise TokenError(f"{number} is not the id of a symbol")
            symbols.append(self.tokens[number])
        if self.kind == "phones":
            return " ".join(symbols)
        return "".join(" " if symbol == SPACE else symbol for symbol in symbols)

    def unknown(self, text: str) -> list[str]:
        """Symbols of ``text`` outside the vocabulary, each once, in order."""
        symbols = _symbols(text, self.kind)
        return [s for s in dict.fromkeys(symbols) if s == BLANK or s not in self._ids]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a text file: the kind, then one token a line."""
        lines = [HEADER + self.kind, *self.tokens]
        write_text(path, "\n".join(lines) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """Read what :meth:`save` wrote.

        Raises:
            TokenError: the file is missing or not such a file.
        """
        text = read_text(path, TokenError, remedy="prepare the data first, or check the path")
        lines = text.removesuffix("\n").split("\n")
        if not lines[0].startswith(HEADER):
            raise TokenError(
                f"the first line is not {HEADER!r} and a kind",
                where=str(path),
                remedy="make the token list again",
            )
        try:
            return cls(lines[1:], lines[0].removeprefix(HEADER))
        except TokenError as error:
            raise error.at(str(path)) from None


def min_frames(labels: Sequence[int]) -> int:
    """Return the fewest frames on which CTC can spell ``labels``: equal neighbours need a blank."""
    return len(labels) + sum(a == b for a, b in pairwise(labels))


def _symbols(text: str, kind: str) -> list[str]:
    if kind == "phones":
        return text.split()
    return [SPACE if character == " " else character for character in text]


def _check(tokens: Sequence[str], kind: str) -> None:
    if kind not in KINDS:
        raise TokenError(f"unknown kind of tokens {kind!r}", remedy=f"use {' or '.join(KINDS)}")
    if len(tokens) < 2 or tokens[0] != BLANK:
        raise TokenError(
            "the token list does not begin with the blank and a symbol",
            remedy=f"put {BLANK} first",
        )
    if len(set(tokens)) != len(tokens):
        double = next(token for token in tokens if list(tokens).count(token) > 1)
        raise TokenError(f"the token {double!r} stands twice", remedy="list each token once")
    for token in tokens[1:]:
        alone = len(token) == 1 and not token.isspace()
        if not (token == SPACE or alone if kind == "characters" else _is_phone(token)):
            raise TokenError(f"{token!r} is not one of the {kind}", remedy="mend the token list")


def _is_phone(token: str) -> bool:
    return bool(token) and not any(character.isspace() for character in token)
