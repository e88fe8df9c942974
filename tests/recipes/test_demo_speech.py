"""The demonstration's speech: reproducible, of disjoint voices, and failing in words."""

import dataclasses
import time
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest

from asr.types import AsrError
from recipes.demo import corpus as demo
from recipes.demo.espeak import Voice, speak

MEASURES = ("pitch", *(f"formant {n}" for n in range(1, 6)))


def vocal_tract(timbre: str) -> tuple[tuple[str, ...], ...]:
    """Pitch and frequencies of the formants, as espeak-ng's own voice file defines them."""
    path = Path(espeakng_loader.get_data_path()) / "voices" / "!v" / timbre
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split("//")[0].split()
        if words[:1] == ["formant"]:
            found[f"formant {words[1]}"] = tuple(words[2:3])
        elif words[:1] == ["pitch"]:
            found["pitch"] = tuple(words[1:3])
    return tuple(found.get(name, ()) for name in MEASURES)


def test_no_held_out_voice_is_a_training_voice_by_another_name():
    trained = {}
    for timbre in demo.TIMBRES["train"]:
        trained.setdefault(vocal_tract(timbre), []).append(timbre)
    for split in ("dev", "test"):
        for timbre in demo.TIMBRES[split]:
            assert vocal_tract(timbre) not in trained, (timbre, trained.get(vocal_tract(timbre)))


def test_a_line_sounds_the_same_whenever_and_whatever_was_said_before():
    """Voices with flutter, with breath and of Klatt's synthesiser: each has a state of its own."""
    voices = [Voice(f"en-us+{name}", rate=180, pitch=40) for name in ("m3", "f2", "caleb")]
    alone = [speak("seven five two", voice).samples for voice in voices]
    second = int(time.time())
    while int(time.time()) == second:  # the library would seed its noise by the clock
        speak("one two three four", Voice("en-029+f5"))
    for voice, samples in zip(voices, alone, strict=True):
        np.testing.assert_array_equal(speak("seven five two", voice).samples, samples)


def test_an_unknown_timbre_is_refused_and_not_spoken_in_the_plain_voice():
    with pytest.raises(AsrError, match="nobody"):
        speak("one", Voice("en-us+nobody"))


def test_a_changed_script_is_spoken_anew(tmp_path):
    line = demo.script("train")[0]
    slower = dataclasses.replace(line, voice=dataclasses.replace(line.voice, rate=99))
    other = dataclasses.replace(line, text="nine")
    assert len({demo._path(tmp_path, each) for each in (line, slower, other)}) == 3


def test_a_library_that_cannot_be_loaded_is_said(monkeypatch):
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: "/nowhere/lib.so")
    with pytest.raises(AsrError, match="cannot be loaded") as caught:
        speak("one", Voice("en-us"))
    assert caught.value.remedy


@pytest.mark.parametrize("failure", ["error", "death"])
def test_a_failing_process_ends_the_synthesis_with_one_message(failure, tmp_path, monkeypatch):
    """Real processes: neither an error nor a death in one of them may hang the command."""
    line = demo.script("train")[0]
    if failure == "error":
        line = dataclasses.replace(line, voice=Voice("en-us+nobody"))
        (tmp_path / "wav").mkdir()
        with pytest.raises(AsrError, match="nobody"):
            demo._speak_all([(tmp_path, line)])
    else:
        monkeypatch.setattr(demo, "_speak", _die)
        with pytest.raises(AsrError, match="died"):
            demo._speak_all([(tmp_path, line)])


def _die(job):
    import os

    os._exit(1)
