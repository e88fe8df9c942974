"""What a job has done survives whatever ends it, and is not mixed with another's."""

import json
import os

import pytest

from asr.jobs.manifest import open_manifest
from asr.types import AudioError, ConfigError

SETTINGS = {"format": "text", "bundle": "abc"}


@pytest.fixture
def place(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"audio")
    (tmp_path / "a.txt").write_text("said")
    return tmp_path


def done(place, settings=SETTINGS, name="a.txt"):
    with open_manifest(place / "manifest.jsonl", settings) as manifest:
        return manifest.is_done(str(place / "a.wav"), place / name)


def note(place, result):
    with open_manifest(place / "manifest.jsonl", SETTINGS) as manifest:
        manifest.is_done(str(place / "a.wav"), place / "a.txt")
        manifest.add(str(place / "a.wav"), result)


def test_what_is_done_is_known_to_the_next_run(place):
    assert not done(place)
    note(place, place / "a.txt")
    assert done(place)
    assert not done(place, name="other.txt")
    (place / "a.txt").unlink()
    assert not done(place)


def test_a_recording_that_changed_is_not_done(place):
    note(place, place / "a.txt")
    os.utime(place / "a.wav", (1, 1))
    assert not done(place)


def test_what_failed_is_tried_again(place):
    note(place, AudioError("broken", where="/secret", remedy="mend it"))
    assert not done(place)
    lines = [json.loads(line) for line in (place / "manifest.jsonl").read_text().splitlines()]
    assert lines[1] == {"file": str(place / "a.wav"), "error": "broken (mend it)"}


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_line_that_was_not_finished_is_none(place, cut):
    note(place, place / "a.txt")
    manifest = place / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-cut])
    assert not done(place)
    note(place, place / "a.txt")
    assert done(place)


def test_other_settings_are_refused(place):
    note(place, place / "a.txt")
    with pytest.raises(ConfigError, match="a job with another format: text, not srt"):
        done(place, {**SETTINGS, "format": "srt"})
    with pytest.raises(ConfigError, match="another beam width: None, not 8"):
        done(place, {**SETTINGS, "beam width": "8"})


@pytest.mark.parametrize("line", ['{"file": []}', '{"file": "b.wav", "result": []}', "5"])
def test_a_line_that_is_none_of_a_recording_is_named(place, line):
    note(place, place / "a.txt")
    with (place / "manifest.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ConfigError, match=r"manifest\.jsonl:3: this is no line"):
        done(place)


def test_a_result_has_one_recording_and_a_recording_one_result(place):
    """Of the same name in two folders, or of another folder of results."""
    (place / "sub").mkdir()
    (place / "sub" / "a.wav").write_bytes(b"other")
    (place / "sub" / "a.txt").write_text("said")
    note(place, place / "a.txt")
    assert not done(place, name="sub/a.txt")
    with (
        open_manifest(place / "manifest.jsonl", SETTINGS) as manifest,
        pytest.raises(ConfigError, match=r"the result of .*a\.wav, and would be that of .*sub/a"),
    ):
        manifest.is_done(str(place / "sub" / "a.wav"), place / "a.txt")


def test_names_of_any_bytes_are_known_again(place):
    name = os.fsdecode(os.fsencode(place) + b"/\xff.wav")
    with open(name, "wb") as file:
        file.write(b"audio")
    for known in (False, True):
        with open_manifest(place / "manifest.jsonl", SETTINGS) as manifest:
            assert manifest.is_done(name, place / "a.txt") == known
            manifest.add(name, place / "a.txt")


def test_two_runs_at_once_are_refused(place):
    with (
        open_manifest(place / "manifest.jsonl", SETTINGS),
        pytest.raises(ConfigError, match="another run is at work here"),
    ):
        done(place)


def test_what_is_no_manifest_is_kept_as_it_is(place):
    odd = ("hello\n", "no line", '{"file": "a.wav"}\n', "[1]\n", '{"job": 5}\n', "[" * 9999 + "\n")
    for text in odd:
        (place / "manifest.jsonl").write_text(text)
        with pytest.raises(ConfigError, match=r"manifest\.jsonl:1: this is no line"):
            done(place)
        assert (place / "manifest.jsonl").read_text() == text
