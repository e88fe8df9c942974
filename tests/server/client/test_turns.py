"""Channels apart, as one conversation: in the client's values, its text and its subtitles."""

from __future__ import annotations

import json

import numpy as np
import pytest

from server.client import Client, Hypothesis, RecognitionConfig, Transcription, Word, turns_of
from server.client_cli.main import main

RATE = 16_000


def said(channel: int, *words: tuple[str, float, float]) -> Transcription:
    spoken = tuple(Word(text, start, end, 0.5) for text, start, end in words)
    text = " ".join(word.text for word in spoken)
    return Transcription((Hypothesis(text, -1.0, 0.5, spoken),), 9.0, channel=channel)


def test_turns_come_in_the_order_of_their_beginnings():
    channels = [
        said(1, ("how", 0.0, 0.2), ("are", 0.3, 0.4), ("you", 0.5, 0.7), ("good", 3.0, 3.4)),
        said(2, ("fine", 1.0, 1.4), ("and", 1.5, 1.6), ("you", 1.7, 2.0)),
    ]
    turns = [(turn.channel, turn.text) for turn in turns_of(channels)]
    assert turns == [(1, "how are you"), (2, "fine and you"), (1, "good")]


def test_a_short_silence_ends_a_turn_only_where_another_begins_to_speak():
    channels = [
        said(1, ("one", 0.0, 0.2), ("two", 0.7, 0.9), ("three", 1.4, 1.6), ("four", 1.7, 1.9)),
        said(2, ("yes", 1.0, 1.2)),
        said(3),
    ]
    turns = [(turn.channel, turn.text) for turn in turns_of(channels)]
    assert turns == [(1, "one two"), (2, "yes"), (1, "three four")]


def test_who_speaks_at_the_same_time_is_not_torn_apart():
    channels = [said(1, ("one", 0.0, 0.5), ("two", 0.5, 1.0)), said(2, ("a", 0.1, 0.9))]
    assert [turn.text for turn in turns_of(channels)] == ["one two", "a"]


def test_without_times_channels_follow_each_other():
    channels = [Transcription((Hypothesis(text, -1.0, 0.5, ()),), 9.0, channel=tag + 1)
                for tag, text in enumerate(["one", "", "three"])]  # fmt: skip
    assert [(turn.channel, turn.text) for turn in turns_of(channels)] == [(1, "one"), (3, "three")]


@pytest.fixture(scope="module")
def call(serving, recognizer, samples_of, file_of, tmp_path_factory):
    """A server, and a file of two that speak in turns."""
    quiet = np.zeros(2 * RATE, np.float32)
    first = np.concatenate([samples_of(1, 1.5), quiet, samples_of(2, 1.0)])
    second = np.concatenate([quiet, samples_of(3, 1.0), np.zeros(24_000, np.float32)])
    path = tmp_path_factory.mktemp("call") / "call.wav"
    path.write_bytes(file_of(np.stack([first, second], axis=1), RATE, "WAV", "PCM_16"))
    with serving(recognizer) as running:
        yield running.address, path


def output(capsys, call, *arguments: str) -> str:
    address, path = call
    assert main(["--address", address, "--each-channel", *arguments, str(path)]) == 0
    return capsys.readouterr().out


def test_the_client_keeps_each_channel_and_tells_all_in_order(call):
    address, path = call
    config = RecognitionConfig(
        enable_separate_recognition_per_channel=True, enable_word_time_offsets=True
    )
    with Client(address) as client:
        told = client.transcribe_file(path, config)
        [*streamed] = client.stream([path.read_bytes()], config)
        for part in told.channels:
            config = RecognitionConfig(audio_channel=part.channel, enable_word_time_offsets=True)
            assert client.transcribe_file(path, config).hypotheses == part.hypotheses
    assert [part.channel for part in told.channels] == [1, 2]
    assert tuple(streamed) == told.channels
    starts = [word.start for word in told.hypotheses[0].words]
    assert starts == sorted(starts)
    assert told.text.splitlines() == [turn.text for turn in turns_of(told.channels)]
    assert told.duration == 4.5


def test_text_has_a_line_a_turn_with_its_channel(call, capsys):
    address, path = call
    config = RecognitionConfig(
        enable_separate_recognition_per_channel=True, enable_word_time_offsets=True
    )
    with Client(address) as client:
        turns = turns_of(client.transcribe_file(path, config).channels)
    lines = [line.split("\t") for line in output(capsys, call).splitlines()]
    assert lines == [[str(turn.channel), turn.text] for turn in turns]
    assert {channel for channel, _ in lines} == {"1", "2"}


@pytest.mark.parametrize(("form", "mark"), [("srt", "[{}] "), ("vtt", "<v Channel {}>")])
def test_cues_of_subtitles_tell_the_channel_in_the_order_of_time(call, capsys, form, mark):
    printed = output(capsys, call, "--format", form).splitlines()
    starts = [line.split(" --> ")[0] for line in printed if " --> " in line]
    assert starts == sorted(starts)
    texts = [line for line in printed if line.startswith((mark.format(1), mark.format(2)))]
    assert len(texts) == len(starts)
    assert texts[0].startswith(mark.format(1))
    assert any(text.startswith(mark.format(2)) for text in texts)


def test_json_and_ctm_have_all_of_each_channel(call, capsys):
    lines = [json.loads(line) for line in output(capsys, call, "--format", "json").splitlines()]
    assert [line["channel"] for line in lines] == [1, 2]
    rows = [line.split() for line in output(capsys, call, "--format", "ctm").splitlines()]
    for line in lines:
        words = [row[4] for row in rows if row[1] == str(line["channel"])]
        assert words == [word["text"] for word in line["hypotheses"][0]["words"]] != []


def test_silence_in_all_channels_is_a_line_without_text(call, capsys, file_of, tmp_path):
    path = tmp_path / "silence.wav"
    path.write_bytes(file_of(np.zeros((RATE, 2), np.float32), RATE, "WAV", "PCM_16"))
    assert output(capsys, (call[0], path)) == "\n"
