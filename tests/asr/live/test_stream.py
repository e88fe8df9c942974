"""Live streams: what is said while audio comes in, segment by segment."""

from itertools import pairwise

import numpy as np
import pytest

from asr.gate import Gate
from asr.live import (
    EndpointOptions,
    EndpointRule,
    Final,
    Interim,
    LiveOptions,
    LiveStream,
    step,
)
from asr.nn.chunks import Chunking
from asr.stream import Streamer
from asr.types import AudioError, ConfigError

RATE = 16_000
QUICK = EndpointOptions(rule1=EndpointRule(False, 1.5), rule2=EndpointRule(True, 0.5))


@pytest.fixture(scope="module")
def bundle(bundle_of):
    return bundle_of()


@pytest.fixture(scope="module")
def stream_of(bundle, tiny_recognizer):
    def make(chunking=None, **options):
        streamer = Streamer(bundle.extractor, bundle.model, chunking or Chunking(12, 8))
        return LiveStream(
            streamer,
            tiny_recognizer.decoder(),
            bundle.tokenizer,
            LiveOptions(**{"endpoint": QUICK, **options}),
        )

    return make


def silence(seconds):
    return np.zeros(int(seconds * RATE), np.float32)


@pytest.fixture(scope="module")
def audio(waveform_of):
    """Speech from 0 to 2 s, from 4 to 5 s, and from 8 to 9.5 s."""
    speech = [waveform_of(seed, seconds).samples for seed, seconds in enumerate((2.0, 1.0, 1.5))]
    return np.concatenate([speech[0], silence(2), speech[1], silence(3), speech[2]])


def drained(stream):
    """Events of all chunks that can be computed."""
    events = []
    while stream.is_ready:
        [more] = step(stream._streamer, [stream])
        events += more
    return events


def run(stream, *pieces, finish=True):
    events = []
    for piece in pieces:
        stream.push(piece)
        events += drained(stream)
    if finish:
        events += stream.finish()
        events += drained(stream)
    return events


def finals(events):
    return [event for event in events if isinstance(event, Final)]


def test_segments_follow_each_other_with_times_of_the_stream(stream_of, audio):
    found = finals(run(stream_of(), audio))
    assert [final.reason for final in found] == ["rule2", "rule2", "finished"]
    for final, (first, last) in zip(found, [(0, 2), (4, 5), (8, 9.5)], strict=True):
        assert final.text
        words = final.hypotheses[0].words
        assert first - 0.1 <= words[0].start < words[-1].end <= last + 0.6
        assert final.start <= first < last <= final.end
        assert " ".join(word.text for word in words) == final.text
    ends = [final.end for final in found]
    assert ends[:2] == pytest.approx([2.5, 5.5], abs=0.6)  # half a second after the words
    assert ends[2] == 9.5
    assert all(one.end <= two.start for one, two in pairwise(found))


@pytest.mark.parametrize("size", [160, 3001])
def test_pieces_of_any_size_give_the_same_events(stream_of, audio, size):
    expected = run(stream_of(interim_words=True), audio)
    assert len(expected) > 5
    pieces = np.split(audio, range(size, len(audio), size))
    assert run(stream_of(interim_words=True), *pieces) == expected


def test_one_sample_at_a_time_gives_the_same_events(stream_of, audio):
    expected = run(stream_of(), audio[:8000])
    assert run(stream_of(), *audio[:8000, None]) == expected


def test_what_is_stable_is_never_taken_back(stream_of, audio):
    stable, told = "", 0
    for event in run(stream_of(interim_words=True), audio):
        assert event.hypotheses[0].text.startswith(stable) if isinstance(event, Final) else True
        if isinstance(event, Final):
            stable = ""
            continue
        assert event.text.startswith(event.stable)
        assert event.stable.startswith(stable)
        assert 0.0 <= event.stability <= 1.0
        assert len(event.words) >= event.stable_words
        stable = event.stable
        told += bool(stable)
    assert told


def test_interim_results_come_while_the_segment_goes_on(stream_of, audio):
    stream = stream_of()
    first = run(stream, audio[:RATE], finish=False)
    assert first
    assert not finals(first)
    assert first[-1].end <= 1.0


def test_sessions_of_a_batch_say_what_each_says_alone(stream_of, waveform_of):
    audios = [waveform_of(seed, 1.0 + 0.7 * seed).samples for seed in range(4)]
    alone = [run(stream_of(), samples) for samples in audios]
    streams = [stream_of() for _ in audios]
    events = [[] for _ in audios]
    for stream, samples in zip(streams, audios, strict=True):
        stream.push(samples)
        stream.finish()
    while ready := [i for i, stream in enumerate(streams) if stream.is_ready]:
        for i, more in zip(
            ready, step(streams[0]._streamer, [streams[i] for i in ready]), strict=True
        ):
            events[i] += more
    assert events == alone


# The client's end of a segment


def test_a_forced_end_answers_as_a_stream_that_ends_there(stream_of, audio):
    whole = run(stream_of(), audio[:20_000])
    stream = stream_of()
    stream.push(audio[:20_000])
    events = stream.force_end()
    stream.push(audio[20_000:40_000])  # before the answer
    events += drained(stream) + stream.finish() + drained(stream)
    forced, last = finals(events)
    assert forced.hypotheses == whole[-1].hypotheses
    assert (forced.reason, forced.start, forced.end) == ("forced", 0.0, 1.25)
    assert (last.reason, last.start, last.end) == ("finished", 1.25, 2.5)
    assert all(word.start >= 1.25 for word in last.hypotheses[0].words)


def test_a_forced_end_is_answered_even_if_nothing_was_said(stream_of):
    stream = stream_of()
    for seconds in (0.0, 0.0, 0.3):
        stream.push(silence(seconds))
        [final] = finals(stream.force_end() + drained(stream))
        assert (final.text, final.reason) == ("", "forced")
    assert finals(stream.finish()) == []


def test_a_single_utterance_is_the_last(stream_of, audio):
    stream = stream_of(single_utterance=True)
    events = run(stream, audio, finish=False)
    assert len(finals(events)) == 1
    assert events[-1].reason == "rule2"
    assert stream.has_ended
    stream.push(audio)  # passed over: the client does not know yet
    assert not stream.is_ready
    assert stream.force_end() == stream.finish() == []


def test_nothing_comes_after_the_end(stream_of, audio):
    stream = stream_of()
    run(stream, audio[:8000])
    for call in (lambda: stream.push(audio), stream.force_end, stream.finish):
        with pytest.raises(ConfigError, match="after the end") as caught:
            call()
        assert caught.value.remedy == "begin another stream"


def test_options_do_not_change_in_mid_stream(stream_of):
    with pytest.raises(AttributeError):
        stream_of().options.single_utterance = True


def test_samples_that_cannot_be_used_are_not_taken(stream_of, audio):
    expected = run(stream_of(), audio[:16_000])
    stream = stream_of()
    stream.push(audio[:50])
    broken, loud = audio[:100].copy(), audio[:100].copy()
    broken[7], loud[7] = np.nan, 1e30
    for samples, message in (
        (broken, "sample 57 is not a finite number"),
        (loud, "sample 57 is far outside"),
        (np.zeros((10, 2), np.float32), "one channel"),
        (np.zeros(10, np.int16), "int16.*divided by 32768"),
        ([0.0, 0.1], "of type list"),
    ):
        with pytest.raises(AudioError, match=message):
            stream.push(samples)
    assert run(stream, audio[50:16_000]) == expected


def test_the_callers_array_may_be_used_again(stream_of, audio):
    """As a sound card's driver does, or be read-only, of another width, or backwards in memory."""
    expected = run(stream_of(), audio)
    stream, buffer, events = stream_of(), np.empty(480, np.float32), []
    for start in range(0, len(audio), 480):
        piece = buffer[: len(audio[start : start + 480])]
        piece[:] = audio[start : start + 480]
        stream.push(piece)
        buffer[:] = 0.9
        events += drained(stream)
    events += stream.finish()
    assert events + drained(stream) == expected
    for samples in (
        np.frombuffer(audio.tobytes(), np.float32),
        audio.astype(np.float64),
        audio.astype(">f4"),
        audio[::-1].copy()[::-1],
    ):
        assert run(stream_of(), samples) == expected


# What goes on for hours


def test_long_silence_says_nothing_is_not_learned_and_costs_no_memory(stream_of, audio):
    stream = stream_of(Chunking(50, 8))
    before = stream.session.features.statistics
    for _ in range(30):
        assert run(stream, silence(2), finish=False) == []
        features = stream.session.features
        held = len(stream.session.frames) + len(features._samples) + len(features._base)
        assert held + sum(map(len, features._fresh)) < 3 * RATE
    # Nor is it taken for the level of speech: at most the last segment's is there.
    assert stream.session.features.statistics.count <= before.count + 500
    final = finals(run(stream, audio[: 2 * RATE]))[-1]
    assert final.text
    assert 59.9 <= final.hypotheses[0].words[0].start < 62


def test_the_gate_says_what_is_silence(bundle, tiny_recognizer, audio):
    streamer = Streamer(bundle.extractor, bundle.model, Chunking(12, 8))
    quiet = (audio * 1e-3).astype(np.float32)
    for gate, is_heard in ((Gate(), True), (Gate(min_level=-50.0), False)):
        stream = LiveStream(
            streamer, tiny_recognizer.decoder(), bundle.tokenizer, LiveOptions(QUICK), gate
        )
        assert any(final.text for final in finals(run(stream, quiet[RATE:]))) == is_heard
    doubtful = LiveStream(
        streamer,
        tiny_recognizer.decoder(),
        bundle.tokenizer,
        LiveOptions(QUICK),
        Gate(min_confidence=1.0),
    )
    events = run(doubtful, audio)
    assert not any(final.text for final in finals(events))
    told = [event for event in events if isinstance(event, Interim)]
    assert any(event.text for event in told)
    assert not any(event.stable or event.stable_words for event in told)


def test_chunks_of_seconds_are_the_nearest_and_within_limits():
    assert Chunking.of_seconds(0.48, 0.6, 0.04) == Chunking(12, 15)
    assert Chunking.of_seconds(0.01, 0.0, 0.04) == Chunking(1, 0)
    for chunk, look_ahead in (
        (0.48, -0.1),
        (0.48, 5.1),
        (0.0, 0.5),
        (6.0, 0.5),
        (0.5, float("nan")),
    ):
        with pytest.raises(ConfigError, match="give seconds"):
            Chunking.of_seconds(chunk, look_ahead, 0.04)
