"""TextGrids that a strict reader reads back, and that cover their time as Praat demands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asr.cli.textgrid import to_textgrid
from asr.types import Hypothesis, TimedToken, Word


class Reader:
    """Reads the long text format line by line and accepts nothing else."""

    def __init__(self, text: str) -> None:
        assert text.endswith("\n")
        self.lines = text.split("\n")[:-1]

    def line(self, expected: str) -> None:
        assert self.lines.pop(0).strip() == expected

    def value(self, key: str) -> str:
        found, _, value = self.lines.pop(0).strip().partition(" = ")
        assert found == key
        return value

    def text(self, key: str) -> str:
        quoted = self.value(key)
        assert quoted[0] == quoted[-1] == '"'
        inner = quoted[1:-1]
        assert '"' not in inner.replace('""', "")
        return inner.replace('""', '"')

    def grid(self) -> tuple[float, dict[str, list[tuple[float, float, str]]]]:
        self.line('File type = "ooTextFile"')
        self.line('Object class = "TextGrid"')
        self.line("")
        assert float(self.value("xmin")) == 0.0
        duration = float(self.value("xmax"))
        self.line("tiers? <exists>")
        size = int(self.value("size"))
        self.line("item []:")
        tiers = dict(self.tier(number + 1, duration) for number in range(size))
        assert len(tiers) == size
        assert self.lines == []
        return duration, tiers

    def tier(self, number: int, duration: float) -> tuple[str, list[tuple[float, float, str]]]:
        self.line(f"item [{number}]:")
        assert self.text("class") == "IntervalTier"
        name = self.text("name")
        assert float(self.value("xmin")) == 0.0
        assert float(self.value("xmax")) == duration
        intervals = []
        for index in range(int(self.value("intervals: size"))):
            self.line(f"intervals [{index + 1}]:")
            start, end = float(self.value("xmin")), float(self.value("xmax"))
            intervals.append((start, end, self.text("text")))
        edges = [0.0]
        for start, end, _ in intervals:
            assert start == edges[-1] < end, "a gap, an overlap, or nothing"
            edges.append(end)
        assert edges[-1] == duration
        return name, intervals


def test_words_and_tokens_with_empty_intervals_between():
    tokens = (TimedToken("a", 0.5, 0.75, 1.0), TimedToken('"', 0.75, 1.0, 1.0))
    hypothesis = Hypothesis('a"', -1.0, 1.0, tokens, (Word('a"', 0.5, 1.0, 1.0),))
    assert Reader(to_textgrid([hypothesis], 1.5)).grid() == (
        1.5,
        {
            "words": [(0.0, 0.5, ""), (0.5, 1.0, 'a"'), (1.0, 1.5, "")],
            "tokens": [(0.0, 0.5, ""), (0.5, 0.75, "a"), (0.75, 1.0, '"'), (1.0, 1.5, "")],
        },
    )


def test_phones_have_no_tier_of_words():
    hypothesis = Hypothesis("aa", -1.0, 1.0, (TimedToken("aa", 0.0, 2.0, 1.0),))
    assert Reader(to_textgrid([hypothesis], 2.0)).grid() == (2.0, {"tokens": [(0.0, 2.0, "aa")]})


def test_no_token_is_one_empty_interval():
    grid = Reader(to_textgrid([Hypothesis("", -1.0, 1.0)], 2.0)).grid()
    assert grid == (2.0, {"tokens": [(0.0, 2.0, "")]})


@given(
    parts=st.lists(
        st.tuples(st.text("aä\"'", min_size=1), st.floats(1e-3, 9), st.floats(0, 9)), max_size=20
    ),
    cut=st.floats(0.5, 1.0),
)
def test_whatever_is_said_is_read_back_and_what_lies_beyond_is_cut(parts, cut):
    tokens, now = [], 0.0
    for text, length, gap in parts:
        start = now + gap
        now = start + length
        tokens.append(TimedToken(text, start, now, 0.5))
    duration = max(now * cut, 0.001)
    _, tiers = Reader(to_textgrid([Hypothesis("", 0.0, 1.0, tuple(tokens))], duration)).grid()
    said = [interval for interval in tiers["tokens"] if interval[2]]
    kept = [t for t in tokens if t.start < duration]
    assert said == [(t.start, min(t.end, duration), t.token) for t in kept]
