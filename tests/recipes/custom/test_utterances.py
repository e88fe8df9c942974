"""Names of utterances that the corpus gives none."""

import time
from pathlib import Path

import pytest

from recipes.custom.entries import Entry
from recipes.custom.utterances import named


def entries(count):
    """Files that are called alike, in folders that are called alike."""
    return [Entry("here", Path(f"/corpus/{n}/clip/audio.wav"), "GO") for n in range(count)]


def test_files_that_are_called_alike_get_numbers_that_nobody_has():
    own = Entry("here", Path("/corpus/a.wav"), "GO", id="clip-audio-3")
    found = [entry.id for entry in named([own, *entries(4)])]
    assert found == ["clip-audio-3", "clip-audio", "clip-audio-2", "clip-audio-4", "clip-audio-5"]


@pytest.mark.timed
def test_many_files_that_are_called_alike_take_no_longer_each():
    started = time.process_time()
    assert len({entry.id for entry in named(entries(16_000))}) == 16_000
    assert time.process_time() - started < 5.0  # where each looks through all numbers: 40 s
