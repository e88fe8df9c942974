"""Endpoints: where silence, or length, ends a segment."""

import math

import numpy as np
import pytest

from asr.live import EndpointOptions, EndpointRule
from asr.live.endpoint import Endpointer
from asr.types import ConfigError

FRAME = 0.04
BLANK, SPACE, LETTER = 0, 1, 2
NOISE, SPEECH = -60.0, -20.0


def frames(*parts):
    """Log-probabilities and levels of parts ``(token, level, seconds)``."""
    tokens = [token for token, _, seconds in parts for _ in range(round(seconds / FRAME))]
    levels = [level for _, level, seconds in parts for _ in range(round(seconds / FRAME))]
    log_probs = np.log(np.full((len(tokens), 3), 0.1, np.float32))
    log_probs[np.arange(len(tokens)), tokens] = np.log(0.8)
    return log_probs, np.array(levels)


def endpoints(options, log_probs, levels, size=10**9):
    """Seconds and reason of each endpoint, where frames come ``size`` at a time."""
    endpointer, found, place = Endpointer(options, FRAME, [SPACE]), [], 0
    for start in range(0, len(log_probs), size):
        rows, loud = log_probs[start : start + size], levels[start : start + size]
        while (endpoint := endpointer.push(rows, loud)) is not None:
            place += endpoint.frame
            rows, loud = rows[endpoint.frame :], loud[endpoint.frame :]
            found.append((round(place * FRAME, 2), endpoint.reason))
        place += len(rows)
    return found


def test_silence_with_nothing_said_is_rule1_and_silence_after_words_is_rule2():
    heard = frames((BLANK, NOISE, 5.0), (LETTER, SPEECH, 1.0), (BLANK, NOISE, 2.0))
    # Said from 5.0 to 6.0 s: 1.2 s later is 7.2 s. Of the silence before, 2.4 s are a segment.
    assert endpoints(EndpointOptions(), *heard) == [(2.4, "rule1"), (4.8, "rule1"), (7.2, "rule2")]


def test_an_hour_of_silence_is_segments_with_nothing_said():
    found = endpoints(EndpointOptions(), *frames((BLANK, -math.inf, 3600.0)))
    assert found == [(round(2.4 * number, 2), "rule1") for number in range(1, 1501)]


def test_spaces_are_silence_and_pauses_between_words_are_no_end():
    heard = frames(
        (LETTER, SPEECH, 1.0), (SPACE, NOISE, 1.0), (LETTER, SPEECH, 1.0), (SPACE, NOISE, 1.28)
    )
    assert endpoints(EndpointOptions(), *heard) == [(4.2, "rule2")]


def test_a_vowel_drawn_out_is_no_silence_unless_the_network_decides_alone():
    heard = frames((LETTER, SPEECH, 0.4), (BLANK, SPEECH, 1.4), (BLANK, NOISE, 2.0))
    noisy = (
        np.concatenate([x, y]) for x, y in zip(frames((BLANK, NOISE, 0.2)), heard, strict=True)
    )
    log_probs, levels = noisy
    assert endpoints(EndpointOptions(), log_probs, levels) == [(3.2, "rule2")]
    alone = EndpointOptions(speech_margin_db=math.inf)
    assert endpoints(alone, log_probs, levels)[0] == (1.8, "rule2")


def test_noise_that_begins_and_stays_does_not_keep_a_segment_open():
    heard = frames((BLANK, NOISE, 0.4), (LETTER, SPEECH, 1.0), (BLANK, SPEECH, 15.0))
    [(seconds, reason), *_] = endpoints(EndpointOptions(), *heard)
    # The floor needs (40 - 15) dB at 6 dB a second to reach it.
    assert reason == "rule2"
    assert 1.4 + 1.2 < seconds < 0.4 + 25 / 6 + 1.2 + 0.1


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(LETTER, SPEECH, 30.0)], 22.0),  # no place between words: 2 s of grace
        ([(LETTER, SPEECH, 20.4), (SPACE, SPEECH, 0.04), (LETTER, SPEECH, 5.0)], 20.44),
        ([(LETTER, SPEECH, 19.6), (BLANK, NOISE, 0.8), (LETTER, SPEECH, 5.0)], 20.0),
        (
            [
                (LETTER, SPEECH, 20.2),
                (BLANK, NOISE, 0.08),
                (LETTER, SPEECH, 0.6),
                (BLANK, NOISE, 0.2),
                (LETTER, SPEECH, 5.0),
            ],
            21.0,  # where 0.1 s are enough
        ),
        ([(LETTER, SPEECH, 21.8), (BLANK, NOISE, 0.04), (LETTER, SPEECH, 5.0)], 21.84),
    ],
    ids=["endless", "a space", "a pause", "within a word, then a pause", "late, a short one"],
)
def test_what_is_too_long_ends_between_words(parts, expected):
    assert endpoints(EndpointOptions(), *frames(*parts))[0] == (expected, "rule3")


def test_rules_are_those_asked_for():
    options = EndpointOptions(
        rule1=EndpointRule(False, 1.0, 0.0),
        rule2=EndpointRule(True, 0.4, 3.0),
        rule3=EndpointRule(False, 0.0, 6.0),
    )
    pause = (BLANK, NOISE, 0.6)
    heard = frames(
        (LETTER, SPEECH, 1.0), pause, (LETTER, SPEECH, 2.0), pause, (LETTER, SPEECH, 8.0)
    )
    # The first pause is too early for rule2.
    assert endpoints(options, *heard) == [(4.0, "rule2"), (12.0, "rule3")]


@pytest.mark.parametrize("size", [1, 2, 7, 25, 1000])
def test_pieces_of_any_size_have_the_same_endpoints(size):
    rng = np.random.default_rng(0)
    parts = [
        (int(rng.integers(3)), float(rng.choice([-math.inf, NOISE, SPEECH])), rng.uniform(0.04, 2))
        for _ in range(200)
    ]
    log_probs, levels = frames((BLANK, NOISE, 6.0), *parts)
    expected = endpoints(EndpointOptions(), log_probs, levels)
    assert {reason for _, reason in expected} == {"rule1", "rule2", "rule3"}
    assert endpoints(EndpointOptions(), log_probs, levels, size) == expected


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: EndpointRule(), "no time at all"),
        (lambda: EndpointRule(min_trailing_silence=-1.0), "min_trailing_silence"),
        (lambda: EndpointRule(min_utterance_length=math.nan), "min_utterance_length"),
        (lambda: EndpointRule(min_trailing_silence=True), "min_trailing_silence"),
        (lambda: EndpointRule("yes", 1.0), "must_contain_nonsilence"),
        (lambda: EndpointOptions(rule1=2.4), "rule1"),
        (lambda: EndpointOptions(rule3=EndpointRule(False, 0.5)), "rule3 ends segments after 0 s"),
        (lambda: EndpointOptions(rule3=EndpointRule(False, 0.0, 61.0)), "60 s"),
        (lambda: EndpointOptions(speech_margin_db=0.0), "speech_margin_db"),
        (lambda: EndpointOptions(speech_margin_db=math.nan), "speech_margin_db"),
    ],
)
def test_options_that_cannot_work_are_refused(make, told):
    with pytest.raises(ConfigError, match=told) as caught:
        make()
    assert caught.value.remedy
