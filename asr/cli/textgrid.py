"""Times of words and tokens as a Praat TextGrid, in the long text format.

Praat's manual, "TextGrid file formats". An interval tier covers all of its time without gaps and
overlaps; where nothing is said, an interval has no text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asr.types import Hypothesis, TimedToken, Word

__all__ = ["to_textgrid"]

Interval = tuple[float, float, str]


def to_textgrid(hypotheses: Sequence[Hypothesis], duration: float) -> str:
    """A TextGrid of ``duration`` seconds with the tiers ``words`` and ``tokens``.

    ``hypotheses`` follow each other in time. Where the vocabulary has no words (say, phones) there
    is no tier of words. What lies beyond the end is cut off.
    """
    words = [word for hypothesis in hypotheses for word in hypothesis.words]
    tokens = [token for hypothesis in hypotheses for token in hypothesis.tokens]
    tiers = {"tokens": list(_covering(tokens, duration))}
    if words:
        tiers = {"words": list(_covering(words, duration)), **tiers}
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {duration!r}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (name, intervals) in enumerate(tiers.items(), start=1):
        lines += [f"    item [{number}]:", *_tier(name, intervals, duration)]
    return "\n".join(lines) + "\n"


def _covering(parts: Sequence[Word] | Sequence[TimedToken], duration: float) -> Iterator[Interval]:
    """Intervals from 0 to ``duration``, empty ones where there is no part."""
    now = 0.0
    for part in parts:
        start, end = max(part.start, now), min(part.end, duration)
        if start >= end:
            continue
        if start > now:
            yield now, start, ""
        yield start, end, part.text if isinstance(part, Word) else part.token
        now = end
    if now < duration:
        yield now, duration, ""


def _tier(name: str, intervals: Sequence[Interval], duration: float) -> Iterator[str]:
    indent = " " * 8
    yield f'{indent}class = "IntervalTier"'
    yield f'{indent}name = "{name}"'
    yield f"{indent}xmin = 0"
    yield f"{indent}xmax = {duration!r}"
    yield f"{indent}intervals: size = {len(intervals)}"
    for number, (start, end, text) in enumerate(intervals, start=1):
        quoted = text.replace('"', '""')  # Praat's way
        yield f"{indent}intervals [{number}]:"
        yield f"{indent}    xmin = {start!r}"
        yield f"{indent}    xmax = {end!r}"
        yield f'{indent}    text = "{quoted}"'
