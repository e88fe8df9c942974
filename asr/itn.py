"""Inverse text normalisation: "twenty three dollars" becomes "$23", and keeps its times.

The rules are the English ones of WeTextProcessing, by the package wetext: weighted transducers from
the words as they are spoken to their written form. See Zhang, Bakhturina, Gorman & Ginsburg 2021,
"NeMo inverse text normalization", for how such rules are made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

from asr.extras import import_extra
from asr.types import Hypothesis, Segment, Transcript, Word

__all__ = ["InverseNormalizer", "shared_normalizer"]

# The rules read a window of words at once, and the next begins where an unchanged word in its first
# half ends. All of a long text at once would take time in proportion to more than its length.
WINDOW_WORDS = 40

# What the rules were made for; other words stay as they are. Quotation marks and backslashes have a
# meaning of their own inside the rules.
READABLE = re.compile(r"[a-z]+(['.-][a-z]*)*")

# Single letters at the end of a number are words of their own: "in nineteen ninety i was".
LETTER_WORDS = ("a", "i")
SERIAL_NUMBER = "telephone"  # the rules' name of digits and letters in a row

# A second is a time after these, and no rank.
BEFORE_TIME = ("a", "each", "every", "other", "per", "split")


@dataclass(frozen=True)
class _Part:
    """``count`` spoken words and what they are written as; ``kind`` is the rules' name of it."""

    count: int
    written: tuple[str, ...]
    kind: str = ""
    is_changed: bool = False


class InverseNormalizer:
    """Writes English words as people write them: numbers, dates, times, money, measures.

    Threads may share it.

    Raises:
        MissingPackageError: the extra ``itn`` is not installed.
    """

    def __init__(self) -> None:
        package = import_extra("wetext", "itn", "written forms of numbers (ITN)")
        rules = package.Normalizer(lang="en", operator="itn")
        # Alternatives have most of their words in common.
        self._parts_of = lru_cache(maxsize=1024)(lambda text: _read_parts(rules, text))
        self._write = lru_cache(maxsize=1024)(rules.normalize)

    def transcript(
        self, transcript: Transcript, check: Callable[[], None] = lambda: None
    ) -> Transcript:
        """``transcript`` with all of its hypotheses in written form; see :meth:`hypothesis`."""
        return replace(
            transcript,
            hypotheses=tuple(self.hypothesis(each, check) for each in transcript.hypotheses),
            segments=tuple(self._segment(each, check) for each in transcript.segments),
        )

    def hypothesis(
        self, hypothesis: Hypothesis, check: Callable[[], None] = lambda: None
    ) -> Hypothesis:
        """``hypothesis`` in written form, with what was spoken beside it.

        One without words, say of phones, keeps its text. ``check`` is called now and then; what it
        raises ends the work.
        """
        words = self.words(hypothesis.words, check)
        return replace(
            hypothesis,
            text=" ".join(word.text for word in words) if words else hypothesis.text,
            words=words,
            spoken_text=hypothesis.text,
            spoken_words=hypothesis.words,
        )

    def words(
        self, spoken: Sequence[Word], check: Callable[[], None] = lambda: None
    ) -> tuple[Word, ...]:
        """The written form of ``spoken``.

        A written word has the time from the first to the last of the spoken words that it comes
        from, and their confidence: the geometric mean, as a word has of its tokens.
        """
        written: list[Word] = []
        place = 0
        for part in self._parts([word.text for word in spoken], check):
            said = spoken[place : place + part.count]
            place += part.count
            written += self._timed(said, part.written) if part.is_changed else said
        return tuple(written)

    def _segment(self, segment: Segment, check: Callable[[], None]) -> Segment:
        return replace(
            segment, hypotheses=tuple(self.hypothesis(each, check) for each in segment.hypotheses)
        )

    # What belongs together

    def _parts(self, texts: Sequence[str], check: Callable[[], None]) -> Iterator[_Part]:
        """The parts of ``texts``, one after the other, without gaps."""
        words = [text.lower() for text in texts]
        held = {place for place in range(len(words)) if _is_held(words, place)}
        place = 0
        while place < len(words):
            check()
            if place in held:
                yield _unchanged(words[place])
                place += 1
                continue
            window = [*_until(words, held, place, place + WINDOW_WORDS)]
            parts = self._parts_of(" ".join(window))
            letter = _stray_letter(parts, window)
            if letter is not None:
                held.add(place + letter)
                continue
            for part in _settled(parts, is_end=len(window) < WINDOW_WORDS):
                yield part
                place += part.count

    # What of a part was written for which of its words

    def _timed(self, spoken: Sequence[Word], written: Sequence[str]) -> Iterator[Word]:
        """``written`` in order, each with the times of what it comes from."""
        is_upper = all(word.text.isupper() for word in spoken)
        texts = [text.upper() if is_upper else text for text in written]
        if len(written) > len(spoken):
            yield from _shared(spoken, texts)
            return
        counts = self._divide([word.text.lower() for word in spoken], list(written))
        place = 0
        for text, count in zip(texts, counts, strict=True):
            said = spoken[place : place + count]
            place += count
            yield Word(text, said[0].start, said[-1].end, _mean([word.confidence for word in said]))

    def _divide(self, spoken: list[str], written: list[str]) -> list[int]:
        """How many of ``spoken`` each of ``written`` comes from, one at least.

        Words are taken from both ends as long as the rules alone write them so; the rest is dealt
        out evenly.
        """
        head: list[int] = []
        tail: list[int] = []
        while len(written) > 1:
            most = len(spoken) - len(written) + 1
            counts = range(most, 0, -1)
            if first := next((n for n in counts if self._gives(spoken[:n], written[0])), 0):
                head.append(first)
                spoken, written = spoken[first:], written[1:]
            elif last := next((n for n in counts if self._gives(spoken[-n:], written[-1])), 0):
                tail.append(last)
                spoken, written = spoken[:-last], written[:-1]
            else:
                break
        return [*head, *_evenly(len(spoken), len(written)), *reversed(tail)]

    def _gives(self, spoken: Sequence[str], written: str) -> bool:
        """Whether ``written`` is what ``spoken`` are, by their letters or by the rules."""
        return _letters("".join(spoken)) == _letters(written) or (
            self._write(" ".join(spoken)) == written
        )


@cache
def shared_normalizer() -> InverseNormalizer:
    """One for the whole process.

    Raises:
        MissingPackageError: see :class:`InverseNormalizer`.
    """
    return InverseNormalizer()


def _read_parts(rules: Any, text: str) -> tuple[_Part, ...]:
    """The parts of ``text``, lower case words with a space between each.

    The rules fail on what they were not made for; then the words stay as they are.
    """
    words = text.split(" ")
    try:
        if rules.normalize(text) == text:  # in a tenth of the time
            return tuple(_unchanged(word) for word in words)
        found = rules.normalize_with_mapping(text)
    except RuntimeError:
        return tuple(_unchanged(word) for word in words)
    parts: list[_Part] = []
    for change in found.mappings:
        first = text[: change.input_start].count(" ")
        count = change.input_text.count(" ") + 1
        parts += [_unchanged(word) for word in words[sum(p.count for p in parts) : first]]
        parts.append(_Part(count, tuple(change.output_text.split()), change.token_type, True))
    parts += [_unchanged(word) for word in words[sum(p.count for p in parts) :]]
    return tuple(parts)


def _unchanged(word: str) -> _Part:
    return _Part(1, (word,))


def _is_held(words: Sequence[str], place: int) -> bool:
    """Whether the rules are not to see a word."""
    if not READABLE.fullmatch(words[place]):
        return True
    return words[place] == "second" and place > 0 and words[place - 1] in BEFORE_TIME


def _until(words: Sequence[str], held: set[int], start: int, end: int) -> Iterator[str]:
    for place in range(start, min(end, len(words))):
        if place in held:
            return
        yield words[place]


def _stray_letter(parts: Sequence[_Part], window: Sequence[str]) -> int | None:
    """The place of a word at the end of a number that is only taken for its last letter."""
    place = 0
    for part in parts:
        place += part.count
        is_serial = part.kind == SERIAL_NUMBER and part.count > 1
        if is_serial and window[place - 1] in LETTER_WORDS:
            return place - 1
    return None


def _settled(parts: Sequence[_Part], *, is_end: bool) -> Sequence[_Part]:
    """Those that the words after the window do not change: up to an unchanged word in its first
    half or, among nothing but numbers, up to the middle.
    """
    if is_end:
        return parts
    settled, place = 0, 0
    for index, part in enumerate(parts):
        place += part.count
        if place > WINDOW_WORDS // 2:
            return parts[: settled or max(index, 1)]
        if not part.is_changed:
            settled = index + 1
    return parts


def _shared(spoken: Sequence[Word], written: Sequence[str]) -> Iterator[Word]:
    """More written words than were spoken: they share the time evenly."""
    start, end = spoken[0].start, spoken[-1].end
    confidence = _mean([word.confidence for word in spoken])
    step = (end - start) / len(written)
    for index, text in enumerate(written):
        yield Word(text, start + index * step, start + (index + 1) * step, confidence)


def _evenly(total: int, shares: int) -> list[int]:
    return [total * (index + 1) // shares - total * index // shares for index in range(shares)]


def _letters(text: str) -> str:
    return "".join(character for character in text if character.isalnum())


def _mean(confidences: Sequence[float]) -> float:
    """The geometric mean: a word of many is as sure as each of them."""
    logs = [math.log(max(confidence, 1e-30)) for confidence in confidences]
    return min(1.0, math.exp(sum(logs) / len(logs)))
