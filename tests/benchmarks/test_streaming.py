"""The benchmark of live streams counts what it says it counts."""

import random

import numpy as np
import pytest

from benchmarks.speakers import Heard, Speech, Wishes, _Conversation, conversation
from benchmarks.streaming import Load
from server.client.results import Hypothesis, LiveResult, Word

RATE = 1_000


def result(text, end, *, settled="", is_final=False):
    words = tuple(Word(word, end - 0.2, end - 0.1, 1.0) for word in text.split())
    return LiveResult((Hypothesis(text, 0.0, 1.0, words),), is_final, settled, 0.5, 0.0, end)


@pytest.fixture
def talk():
    """A stream of a second, of which a piece of 100 ms was sent every 100 ms."""
    held = _Conversation(Speech(np.zeros(RATE, np.float32), RATE), Heard(), Wishes())
    held._sent = [10.0 + 0.1 * n for n in range(1, 11)]
    return held


def test_latency_is_from_the_sending_of_the_last_piece_of_a_result(talk):
    talk._note(result("a", 0.3), 11.0)
    talk._note(result("a b", 0.31), 11.0)
    assert talk._heard.partials == pytest.approx([11.0 - 10.3, 11.0 - 10.4])


def test_a_word_that_is_not_in_its_place_in_the_end_has_changed(talk):
    talk._note(result("the ca", 0.3), 11.0)
    talk._note(result("the cat", 0.4), 11.0)
    talk._note(result("the cat sat", 0.5, is_final=True), 11.5)
    assert (talk._heard.shown, talk._heard.changed) == (3, 1)
    assert talk._heard.first_words == pytest.approx([11.0 - 10.4])


def test_what_takes_back_the_settled_is_counted(talk):
    talk._note(result("one two", 0.3, settled="one"), 11.0)
    talk._note(result("on two", 0.4), 11.0)
    assert talk._heard.broken == 1


def test_a_bound_that_is_passed_is_not_kept():
    heard = Heard(partials=[0.7] * 99 + [5.0], finals=[0.1], look_ahead=0.6)
    assert Load(heard, 1.0, 1.0).holds
    assert not Load(Heard(partials=[0.95] * 9, finals=[0.1], look_ahead=0.6), 1.0, 1.0).holds
    assert not Load(Heard(partials=[0.7], finals=[0.4], look_ahead=0.6), 1.0, 1.0).holds
    assert not Load(Heard(look_ahead=0.6), 1.0, 1.0).holds, "nothing was heard"


def test_a_conversation_has_pauses_and_ends_with_a_word():
    speech = conversation([np.ones(RATE, np.float32)], RATE, random.Random(0))
    assert len(speech.samples) > 18 * RATE
    assert (speech.samples[-RATE:] == 1).all()
    assert len(b"".join(speech.pieces())) == 2 * len(speech.samples)
