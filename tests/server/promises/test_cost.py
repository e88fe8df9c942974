"""What the dearest options of a client cost beside the default call on the same audio."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from asr.decoding import Stop
from asr.recognizer import Recognizer
from asr.types import Transcript, Waveform
from server.api.messages import check_duration, read_options, read_phrases, write_result
from server.limits import (
    MAX_ALTERNATIVES,
    MAX_BEAM_WIDTH,
    MAX_PHRASES,
    PREFIX_ALTERNATIVES,
)
from server.pb.v1 import speech_pb2 as pb

# As many phrases as are allowed together, each of its own.
LETTERS = str.maketrans("0123456789", "abcdeabcde")
PHRASES = [f"{n:09b}".translate(LETTERS) + " abc" for n in range(MAX_PHRASES)]


def dearest(name: str) -> pb.RecognitionConfig:
    """The options of the decoder ``name`` that cost the most."""
    if name == "prefix":
        return pb.RecognitionConfig(
            decoder=name, max_alternatives=PREFIX_ALTERNATIVES, enable_word_time_offsets=True
        )
    return pb.RecognitionConfig(
        decoder=name,
        beam_width=MAX_BEAM_WIDTH,
        max_alternatives=MAX_ALTERNATIVES,
        enable_word_time_offsets=True,
        speech_contexts=[pb.SpeechContext(phrases=PHRASES, boost=1.0)],
    )


def processor_seconds(work: Callable[[], object]) -> float:
    """The least of three, as all threads of this process count."""
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "seconds"),
    [*(("beam", seconds) for seconds in (1, 3, 10, 30)), ("prefix", 3), ("prefix", 30)],
)
def test_the_dearest_options_cost_less_than_ten_times_the_default(
    large_bundle_path, samples_of, name, seconds
):
    """From the waveform to the bytes of the answer; decoding the audio is the same for both.

    Audio of more than 30 s is recognised by segments of up to that.
    """
    recognizer = Recognizer.load(large_bundle_path)
    waveform = Waveform(samples_of(0, seconds), 16_000)
    options = dearest(name)

    def call(config: pb.RecognitionConfig) -> None:
        log_probs, lengths = recognizer.log_probs([waveform])
        decoder, phrases = read_options(config, recognizer.bundle), read_phrases(config)
        check_duration(decoder, seconds)
        [found] = recognizer.decoder(decoder, phrases).decode(log_probs, lengths, Stop())
        transcript = Transcript(tuple(found), waveform.duration)
        write_result(transcript, words=config.enable_word_time_offsets).SerializeToString()

    call(options)  # compiles
    default = processor_seconds(lambda: call(pb.RecognitionConfig()))
    ratio = processor_seconds(lambda: call(options)) / default
    print(f"{name}, {seconds} s of audio: {1e3 * default:.1f} ms, dearest {ratio:.1f} times")
    assert ratio < 10
