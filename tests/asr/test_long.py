"""Long recordings: cut at pauses, recognised segment by segment."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from asr.audio import OWN_RECORDINGS, write_wav
from asr.cli.main import main
from asr.gate import NO_WORDS
from asr.long import join_segments, prepared_window, segments_of, transcribe_blocks
from asr.recognizer import Recognizer
from asr.segmenter import Segmenter, SegmentOptions
from asr.transcribe import transcribe_files
from asr.types import AudioError, ConfigError, DecodingError, Segment, Waveform

RATE = 16_000
SHORT = SegmentOptions(2.0, 6.0)


@pytest.fixture(scope="module")
def recording(waveform_of):
    """Eight utterances of 1.5 to 3 s, half a second of faint noise between them."""
    rng = np.random.default_rng(0)
    parts = []
    for seed in range(8):
        parts.append(waveform_of(seed, float(rng.uniform(1.5, 3.0))).samples)
        parts.append((1e-4 * rng.standard_normal(RATE // 2)).astype(np.float32))
    return np.concatenate(parts), np.cumsum([len(part) for part in parts]) / RATE


def test_segments_cover_the_recording_and_end_in_pauses(tiny_recognizer, recording):
    samples, edges = recording
    found = list(segments_of(tiny_recognizer, [samples], tiny_recognizer.decoder(), SHORT))
    assert len(found) > 3
    assert found[0].start == 0.0
    assert found[-1].end == len(samples) / RATE
    for one, two in pairwise(found):
        assert one.end == two.start
        assert 2.0 <= one.end - one.start <= 6.0
        # Pauses are from an odd edge to the next: from an utterance's end to another's beginning.
        assert np.searchsorted(edges, one.end) % 2 == 1
    for segment in found:
        for word in segment.hypotheses[0].words:
            assert segment.start <= word.start <= word.end <= segment.end + 0.1


@pytest.mark.parametrize("size", [1_000, 70_001, 10**9])
def test_blocks_of_any_size_give_the_same_transcript(tiny_recognizer, recording, size):
    samples, _ = recording
    decoder = tiny_recognizer.decoder()
    expected = transcribe_blocks(tiny_recognizer, [samples], decoder, SHORT)
    blocks = np.split(samples, range(size, len(samples), size))
    assert transcribe_blocks(tiny_recognizer, blocks, decoder, SHORT) == expected


def test_the_callers_block_may_be_used_again(tiny_recognizer, recording):
    samples, _ = recording
    buffer = np.empty(3_000, np.float32)

    def blocks():
        for start in range(0, len(samples), len(buffer)):
            piece = buffer[: len(samples[start : start + len(buffer)])]
            piece[:] = samples[start : start + len(buffer)]
            yield piece

    decoder = tiny_recognizer.decoder()
    expected = transcribe_blocks(tiny_recognizer, [samples], decoder, SHORT)
    assert transcribe_blocks(tiny_recognizer, blocks(), decoder, SHORT) == expected


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([], "no samples"),
        ([np.zeros(0, np.float32)], "no samples"),
        ([np.zeros((RATE, 2), np.float32)], "one channel"),
        ([np.zeros(RATE, np.int16)], "int16"),
        ([np.zeros(RATE, np.float32), np.full(9, np.nan, np.float32)], "sample 16000 is not"),
    ],
)
def test_blocks_that_cannot_be_used_are_refused(tiny_recognizer, blocks, message):
    with pytest.raises(AudioError, match=message):
        transcribe_blocks(tiny_recognizer, blocks, tiny_recognizer.decoder(), SHORT)


def test_a_window_that_cannot_be_scored_is_an_error_of_its_own():
    segmenter = Segmenter(SHORT, RATE, 640)
    segmenter.push(np.zeros(8 * RATE, np.float32))
    with pytest.raises(DecodingError, match="the recording"):
        segmenter.cut(torch.full((len(segmenter.window()) // 640, 3), torch.nan))


def test_half_precision_is_cut_like_single():
    pieces = []
    for dtype in (torch.float32, torch.bfloat16):
        segmenter = Segmenter(SHORT, RATE, 640)
        segmenter.push(np.zeros(8 * RATE, np.float32))
        rows = torch.full((len(segmenter.window()) // 640, 3), -1.0)
        rows[100, 0] = 0.0
        pieces.append(segmenter.cut(rows.to(dtype)).end)
    assert pieces[0] == pieces[1]


def test_a_recording_of_one_segment_is_recognised_as_a_whole(tiny_recognizer, waveform_of):
    waveform = waveform_of(3, 5.0)
    decoder = tiny_recognizer.decoder()
    found = transcribe_blocks(tiny_recognizer, [waveform.samples], decoder, SHORT)
    [expected] = tiny_recognizer.recognize([waveform], decoder)
    assert found.hypotheses == expected.hypotheses
    assert found.duration == 5.0


@pytest.mark.parametrize(("seconds", "expected"), [(5.0, False), (7.0, True)])
def test_voices_are_told_apart_in_windows_of_longer_recordings_alone(
    tiny_recognizer, waveform_of, seconds, expected
):
    segmenter = tiny_recognizer.segmenter(SHORT)
    segmenter.push(waveform_of(3, seconds).samples)
    segmenter.end()
    found = []
    while segmenter.is_ready:
        prepared = prepared_window(tiny_recognizer, segmenter)
        found.append(prepared.may_change)
        segmenter.cut(tiny_recognizer.log_probs([prepared])[0][0])
    assert found == [expected] * len(found)
    assert len(found) == 1 + expected


def test_the_joined_transcript_is_that_of_its_segments(tiny_recognizer, recording):
    samples, _ = recording
    decoder = tiny_recognizer.decoder()
    whole = transcribe_blocks(tiny_recognizer, [samples], decoder, SHORT)
    best = [segment.hypotheses[0] for segment in whole.segments]
    [joined] = whole.hypotheses
    assert joined.text == " ".join(each.text for each in best if each.text)
    assert joined.score == pytest.approx(sum(each.score for each in best))
    assert min(each.confidence for each in best) <= joined.confidence <= 1.0
    tokens = [tiny_recognizer.tokenizer.tokens.index(token.token) for token in joined.tokens]
    assert tiny_recognizer.tokenizer.decode(tokens) == joined.text
    assert " ".join(word.text for word in joined.words) == joined.text
    starts = [token.start for token in joined.tokens]
    assert starts == sorted(starts)


def test_silence_is_not_computed_and_a_rest_that_is_no_frame_says_nothing(
    tiny_recognizer, recording, monkeypatch
):
    computed = []
    honest = tiny_recognizer.log_probs

    def count(waveforms):
        computed.append(len(waveforms[0].samples))
        return honest(waveforms)

    monkeypatch.setattr(tiny_recognizer, "log_probs", count)
    silence = np.zeros(30 * RATE + 10, np.float32)
    decoder = tiny_recognizer.decoder()
    assert transcribe_blocks(tiny_recognizer, [silence], decoder, SHORT).text == ""
    assert computed == []
    found = transcribe_blocks(tiny_recognizer, [recording[0][: 6 * RATE + 10]], decoder, SHORT)
    assert found.duration == pytest.approx(6 + 10 / RATE)


def test_memory_holds_one_window_however_much_is_pushed():
    segmenter = Segmenter(SHORT, RATE, 640)
    rng = np.random.default_rng(0)
    for _ in range(100):
        segmenter.push(rng.standard_normal(RATE).astype(np.float32))
        while segmenter.is_ready:
            segmenter.cut(torch.full((len(segmenter.window()) // 640, 3), -1.1))
        assert sum(map(len, segmenter._blocks)) <= 7 * RATE


def test_a_folder_may_hold_long_and_short_files(tiny_bundle_path, recording, tmp_path, capsys):
    samples, _ = recording
    write_wav(tmp_path / "long.wav", Waveform(samples, RATE))
    write_wav(tmp_path / "short.wav", Waveform(samples[: 3 * RATE], RATE))
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    options = ["--format", "json", "--segment-seconds", "6"]
    status = main(["transcribe", str(tiny_bundle_path), str(tmp_path), *options])
    lines = {
        json.loads(line)["file"]: json.loads(line) for line in capsys.readouterr().out.splitlines()
    }
    broken, long, short = (
        lines[str(tmp_path / f"{name}.wav")] for name in ("broken", "long", "short")
    )
    assert status == 2
    assert "error" in broken
    assert "segments" not in short
    assert long["duration"] == pytest.approx(len(samples) / RATE, abs=1e-3)
    assert long["text"] == " ".join(s["text"] for s in long["segments"] if s["text"])
    assert long["segments"][-1]["end"] == pytest.approx(long["duration"], abs=1e-3)


def test_a_long_file_of_another_rate_keeps_its_length(tiny_bundle_path, waveform_of, tmp_path):
    write_wav(tmp_path / "a.wav", waveform_of(0, 14.0, 11_025))
    recognizer = Recognizer.load(tiny_bundle_path, limits=OWN_RECORDINGS)
    [(_, transcript)] = transcribe_files(recognizer, [str(tmp_path / "a.wav")], segments=SHORT)
    assert transcript.duration == 14.0
    assert transcript.segments[-1].end == pytest.approx(14.0, abs=1e-3)


def test_one_search_that_was_cut_is_told_of_the_whole(tiny_recognizer, recording):
    samples, _ = recording
    found = transcribe_blocks(tiny_recognizer, [samples], tiny_recognizer.decoder(), SHORT)
    segments = [
        replace(segment, hypotheses=(replace(segment.hypotheses[0], search=search),))
        for segment, search in zip(found.segments, ["exact", "cut", "sectioned"], strict=False)
    ]
    [joined] = join_segments(segments, tiny_recognizer.tokenizer).hypotheses
    assert joined.search == "cut"
    quiet = Segment(0.0, 1.0, (NO_WORDS,))  # nobody searched for anything there
    proved = [replace(each, hypotheses=segments[0].hypotheses) for each in segments]
    [joined] = join_segments([quiet, *proved], tiny_recognizer.tokenizer).hypotheses
    assert joined.search == "exact"
    nothing = replace(quiet, hypotheses=(replace(NO_WORDS, search="cut"),))
    [joined] = join_segments([nothing, *proved], tiny_recognizer.tokenizer).hypotheses
    assert joined.search == "cut"


@pytest.mark.parametrize(("low", "high"), [(0.5, 10), (10, 10), (10, 5000), (float("nan"), 30)])
def test_lengths_that_cannot_be_are_refused(low, high):
    with pytest.raises(ConfigError, match="segments of"):
        SegmentOptions(low, high)
