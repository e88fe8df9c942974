"""What a model heard, frame by frame: as the model says it, to a byte, within its bounds."""

from __future__ import annotations

import io

import grpc
import numpy as np
import pytest
import soundfile
import torch

from asr.types import Waveform
from server.api.posteriors import write_posteriors
from server.client import Client, RecognitionConfig
from server.limits import POSTERIOR_SECONDS, POSTERIOR_TOKENS
from server.pb.v1 import speech_pb2 as pb

RATE = 16_000


@pytest.fixture(scope="module")
def running(serving, recognizer):
    with serving(recognizer) as running:
        yield running


def wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


def test_a_call_gets_what_the_model_says(running, recognizer, samples_of):
    samples = samples_of(1, 1.5)
    with Client(running.address) as client:
        said = client.transcribe(wav(samples), RecognitionConfig(enable_posteriors=True))
        plain = client.transcribe(wav(samples))
    assert plain.posteriors is None
    assert said.hypotheses == plain.hypotheses
    posteriors = said.posteriors
    [log_probs], _ = recognizer.log_probs([Waveform(samples, RATE)])
    names = list(recognizer.tokenizer.tokens)
    columns = [names.index(token) for token in posteriors.tokens]
    shape = (len(log_probs), len(columns))
    found = np.frombuffer(posteriors.probabilities, np.uint8).reshape(shape)
    assert columns[0] == 0
    assert posteriors.frame_step == recognizer.seconds_per_frame
    assert np.abs(found - 255 * log_probs.exp().numpy()[:, columns]).max() <= 0.51
    left_out = sorted(set(range(len(names))) - set(columns))
    assert not len(left_out) or log_probs.exp().numpy()[:, left_out].max() < 0.5 / 255


def test_they_change_nothing_of_audio_that_is_read_by_segments(running, recognizer, samples_of):
    samples = np.resize(samples_of(1, 2.0), 35 * RATE)
    with Client(running.address) as client:
        said = client.transcribe(wav(samples), RecognitionConfig(enable_posteriors=True))
        plain = client.transcribe(wav(samples))
    assert said.hypotheses == plain.hypotheses
    [log_probs], _ = recognizer.log_probs([Waveform(samples, RATE)])
    assert len(said.posteriors.probabilities) == len(log_probs) * len(said.posteriors.tokens)


def test_tokens_that_stand_out_most_are_kept():
    torch.manual_seed(0)
    log_probs = torch.randn(50, 500).mul(4).log_softmax(-1)
    message = write_posteriors(log_probs, [str(k) for k in range(500)], 0.02)
    peaks = log_probs.exp().amax(0)
    assert message.tokens[0] == "0"
    assert len(message.tokens) == POSTERIOR_TOKENS
    kept = [int(token) for token in message.tokens[1:]]
    others = [k for k in range(1, 500) if k not in kept]
    assert peaks[kept].min() >= peaks[others].max() - 1 / 255
    assert len(message.probabilities) == 50 * POSTERIOR_TOKENS


def test_silence_and_no_frames_have_none(running):
    silent = pb.TranscribeRequest(
        config=pb.RecognitionConfig(enable_posteriors=True), audio=wav(np.zeros(RATE))
    )
    assert not running.stub.Transcribe(silent, timeout=60).results[0].HasField("posteriors")
    assert write_posteriors(torch.zeros(0, 3), ["-", "a", "b"], 0.02).probabilities == b""


def test_long_audio_and_live_streams_are_refused(running, samples_of):
    long = wav(np.resize(samples_of(1, 2.0), int((POSTERIOR_SECONDS + 1) * 4000)))
    config = pb.RecognitionConfig(
        enable_posteriors=True, encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=4000
    )
    with pytest.raises(grpc.RpcError, match="60 s") as caught:
        running.stub.Transcribe(
            pb.TranscribeRequest(config=config, audio=long[-2 * 61 * 4000 :]), timeout=60
        )
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    live = pb.TranscribeStreamRequest(streaming_config=pb.StreamingRecognitionConfig(config=config))
    with pytest.raises(grpc.RpcError, match="live streams") as caught:
        list(running.stub.TranscribeStream(iter([live]), timeout=60))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
