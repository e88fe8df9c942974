"""Text to token ids and back. The blank of CTC is always id 0."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from itertools import pairwise

from asr.files.read import read_text
from asr.files.write import write_text
from asr.subwords import MARK, Segmenter, text_of
from asr.types import SPACE, TokenError

__all__ = ["BLANK", "BLANK_ID", "SPACE", "Tokenizer", "min_frames"]

BLANK = "<blank>"
BLANK_ID = 0
KINDS = ("characters", "phones", "subwords")
HEADER = "# kind: "


class Tokenizer:
    """A vocabulary of characters, of phones whose names stand in the text between spaces, or of
    subwords.

    Args:
        tokens: names by id, the blank first.
        kind: ``"characters"``, ``"phones"`` or ``"subwords"``.
        scores: of subwords, the log-probability of each, the blank left out.

    Raises:
        TokenError: the list is not a vocabulary of that kind, or the scores do not fit it.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        kind: str = "characters",
        scores: Sequence[float] | None = None,
    ) -> None:
        _check(tokens, kind)
        self.tokens = tuple(tokens)
        self.kind = kind
        self.scores = tuple(map(float, scores or ()))
        _check_scores(self.scores, self.tokens, kind)
        self._ids = {token: number for number, token in enumerate(self.tokens)}
        if kind == "subwords":
            self._segmenter = Segmenter(dict(zip(self.tokens[1:], self.scores, strict=True)))

    @classmethod
    def from_texts(cls, texts: Iterable[str], kind: str = "characters") -> Tokenizer:
        """The smallest vocabulary of characters or phones that spells ``texts``, in sorted order.

        Raises:
            TokenError: the texts are empty, or ``kind`` is another.
        """
        if kind == "subwords":
            raise TokenError("subwords are not read off texts", remedy="train them by `prepare`")
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
        """The id of the token that stands between words and belongs to none, where there is one.

        Of characters, that is the space; of subwords, the mark alone, after which a word may begin
        with a token that has no mark.
        """
        names = {"characters": SPACE, "subwords": MARK}
        return self._ids.get(names.get(self.kind, ""))

    def starts_word(self, number: int) -> bool:
        """Whether the token of that id begins a word by itself, as subwords with a mark do."""
        token = self.tokens[number]
        return self.kind == "subwords" and token.startswith(MARK) and token != MARK

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``.

        Raises:
            TokenError: the text has symbols outside the vocabulary; the message names them.
        """
        symbols = self._symbols(text)
        if unknown := self._strangers(text, symbols):
            raise TokenError(
                f"unknown symbols {', '.join(map(repr, unknown))}",
                remedy="normalise the text or make the vocabulary from texts that have them",
            )
        return [self._ids[symbol] for symbol in symbols]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``, the inverse of :meth:`encode`; nothing is collapsed.

        Raises:
            TokenError: an id is the blank or outside the vocabulary.
        """
        symbols, size, tokens = [], self.size, self.tokens
        for number in ids:
            if not 0 < number < size:
                raise TokenError(f"{number} is not the id of a symbol")
            symbols.append(tokens[number])
        if self.kind == "phones":
            return " ".join(symbols)
        if self.kind == "subwords":
            return text_of("".join(symbols))
        return "".join(" " if symbol == SPACE else symbol for symbol in symbols)

    def unknown(self, text: str) -> list[str]:
        """Symbols of ``text`` outside the vocabulary, each once, in order."""
        return self._strangers(text, self._symbols(text))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a text file: the kind, then one token a line, a subword with its score."""
        lines = [HEADER + self.kind, *self.tokens]
        if self.kind == "subwords":
            lines[2:] = map("{}\t{!r}".format, self.tokens[1:], self.scores)
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
            return cls(*_parsed(lines[1:], lines[0].removeprefix(HEADER)))
        except TokenError as error:
            raise error.at(str(path)) from None

    def _symbols(self, text: str) -> list[str]:
        if self.kind != "subwords":
            return _symbols(text, self.kind)
        return [piece for word in text.split() for piece in self._segmenter.segment(word)]

    def _strangers(self, text: str, symbols: Iterable[str]) -> list[str]:
        mark = [MARK] if self.kind == "subwords" and MARK in text else []  # no character of a text
        return mark + [s for s in dict.fromkeys(symbols) if s == BLANK or s not in self._ids]


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
        if not IS_TOKEN[kind](token):
            raise TokenError(f"{token!r} is not one of the {kind}", remedy="mend the token list")
    if kind == "subwords" and MARK not in tokens:
        raise TokenError(f"the subwords lack {MARK!r}, the mark alone", remedy="list it as well")


def _check_scores(scores: Sequence[float], tokens: Sequence[str], kind: str) -> None:
    if len(scores) != (len(tokens) - 1 if kind == "subwords" else 0):
        raise TokenError(
            f"{len(scores)} scores for {len(tokens) - 1} {kind}",
            remedy="give each subword its own, and other tokens none",
        )
    if strange := [score for score in scores if not -math.inf < score <= 0.0]:
        raise TokenError(
            f"the score {strange[0]} is no log-probability", remedy="mend the token list"
        )


def _is_character(token: str) -> bool:
    return token == SPACE or (len(token) == 1 and not token.isspace())


def _is_phone(token: str) -> bool:
    return bool(token) and not any(character.isspace() for character in token)


def _is_subword(token: str) -> bool:
    return _is_phone(token) and MARK not in token[1:]


IS_TOKEN = {"characters": _is_character, "phones": _is_phone, "subwords": _is_subword}


def _parsed(lines: Sequence[str], kind: str) -> tuple[list[str], str, list[float]]:
    """Tokens, their kind, and the scores of subwords."""
    if kind != "subwords":
        return list(lines), kind, []
    tokens, scores = list(lines[:1]), []
    for line in lines[1:]:
        token, _, score = line.partition("\t")
        tokens.append(token)
        try:
            scores.append(float(score))
        except ValueError:
            raise TokenError(
                f"{line!r} is not a subword and its score", remedy="make the token list again"
            ) from None
    return tokens, kind, scores
