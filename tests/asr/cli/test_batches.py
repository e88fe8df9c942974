"""Many files at once: batches, cores, and their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.decoding import BeamOptions
from asr.transcribe import even_batches, in_order, plan_batches, transcribe_files
from asr.types import AsrError, ConfigError


@given(st.lists(st.floats(0.01, 100), max_size=40), st.floats(0.1, 200))
def test_batches_hold_every_file_once_within_the_cap(durations, cap):
    batches = plan_batches(durations, cap)
    assert sorted(index for batch in batches for index in batch) == list(range(len(durations)))
    for batch in batches:
        padded = max(durations[index] for index in batch) * len(batch)
        assert len(batch) == 1 or padded <= cap


@pytest.mark.parametrize("cap", [0.0, -1.0, float("nan")])
def test_a_cap_that_cannot_be(cap):
    with pytest.raises(ConfigError):
        plan_batches([1.0], cap)


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=40),
    st.floats(0.1, 1000) | st.just(np.inf),
    st.integers(1, 9),
)
def test_no_lane_is_left_without_a_batch_where_there_is_enough(durations, cap, lanes):
    batches = even_batches(durations, cap, lanes)
    assert sorted(index for batch in batches for index in batch) == list(range(len(durations)))
    for batch in batches:
        assert len(batch) == 1 or max(durations[index] for index in batch) * len(batch) <= cap
    rounds = -(-len(plan_batches(durations, cap)) // lanes)
    assert len(batches) <= rounds * lanes
    if len(durations) % lanes == 0:
        alike = even_batches([1.0] * len(durations), cap, lanes)
        assert len(alike) % lanes == 0
        assert len({len(batch) for batch in alike}) <= 2


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_lanes_change_no_result(tiny_recognizer, files, bad, lanes):
    """Words, times and scores as well, with files that fail among them."""
    mixed = [files[0], bad["text"], *files[1:], bad["missing"], files[2]]
    decoder = tiny_recognizer.decoder(BeamOptions(beam_width=8, nbest=3))
    expected = dict(transcribe_files(tiny_recognizer, mixed, decoder, batch_seconds=2.0, lanes=1))
    done: list[int] = []
    found = dict(
        transcribe_files(
            tiny_recognizer, mixed, decoder, batch_seconds=2.0, lanes=lanes, on_done=done.append
        )
    )
    assert sum(done) == len(mixed)
    assert list(map(str, map(found.get, (1, 6)))) == list(map(str, map(expected.get, (1, 6))))
    for index in (0, 2, 3, 4, 5, 7):
        for one, other in zip(found[index].hypotheses, expected[index].hypotheses, strict=True):
            assert one.text == other.text
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert [(word.text, word.start, word.end) for word in one.words] == [
                (word.text, word.start, word.end) for word in other.words
            ]


@given(st.permutations(range(8)))
def test_results_come_in_order_and_as_early_as_that_allows(arrival):
    seen: list[int] = []

    def arriving():
        for index in arrival:
            seen.append(index)
            yield index, AsrError(str(index))

    given_out = []
    for index, outcome in in_order(arriving()):
        assert outcome.what == str(index)
        assert set(range(index + 1)) <= set(seen)
        given_out.append(index)
    assert given_out == list(range(8))


def test_a_batch_that_fails_is_tried_file_by_file(tiny_recognizer, files, texts, monkeypatch):
    """As when the memory of a graphics card does not hold the batch."""
    honest = tiny_recognizer.recognize

    def cramped(waveforms, decoder=None, **options):
        if len(waveforms) > 1 or waveforms[0].duration > 1.0:
            raise AsrError("no memory", remedy="smaller batches")
        return honest(waveforms, decoder, **options)

    monkeypatch.setattr(tiny_recognizer, "recognize", cramped)
    done: list[int] = []
    outcomes = dict(transcribe_files(tiny_recognizer, files, on_done=done.append))
    assert str(outcomes[0]) == f"{files[0]}: no memory (smaller batches)"
    assert [outcomes[i].text for i in range(1, 5)] == texts[1:]
    assert sum(done) == len(files)
