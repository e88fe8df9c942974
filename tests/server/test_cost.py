"""What the dearest options of a client cost beside the default call on the same audio."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from asr.decoding import Stop
from asr.recognizer import Recognizer
from asr.types import Transcript, Waveform
from server.limits import MAX_ALTERNATIVES, MAX_BEAM_WIDTH
from server.messages import read_decoder, write_result
from server.pb.v1 import speech_pb2 as pb

DEAREST = pb.RecognitionConfig(
    decoder="beam",
    beam_width=MAX_BEAM_WIDTH,
    max_alternatives=MAX_ALTERNATIVES,
    enable_word_time_offsets=True,
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
@pytest.mark.parametrize("seconds", [1, 10, 60])
def test_the_widest_beam_costs_less_than_ten_times_the_default(
    large_bundle_path, samples_of, seconds
):
    """From the waveform to the bytes of the answer; decoding the audio is the same for both."""
    recognizer = Recognizer.load(large_bundle_path)
    waveform = Waveform(samples_of(0, seconds), 16_000)

    def call(config: pb.RecognitionConfig) -> None:
        log_probs, lengths = recognizer.log_probs([waveform])
        decoder = read_decoder(config, recognizer.bundle.decoder)
        [found] = recognizer.decode(log_probs, lengths, decoder, Stop())
        transcript = Transcript(tuple(found), waveform.duration)
        write_result(transcript, words=config.enable_word_time_offsets).SerializeToString()

    call(DEAREST)  # compiles
    default = processor_seconds(lambda: call(pb.RecognitionConfig()))
    dearest = processor_seconds(lambda: call(DEAREST))
    print(f"{seconds} s of audio: {1e3 * default:.1f} ms, dearest {dearest / default:.1f} times")
    assert dearest < 10 * default
