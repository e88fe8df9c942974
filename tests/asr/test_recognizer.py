"""An utterance's transcript is its own: alone, in any batch, in any order, at any padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr import audio
from asr import recognizer as recognizer_module
from asr.audio import AudioLimits, resample
from asr.decoding import BeamOptions, GreedyOptions, Phrase, make_decoder, plain_values
from asr.nn.kernels.layer import int8_objection
from asr.recognizer import Recognizer
from asr.types import AsrError, AudioError, ConfigError, DecodingError, Waveform

GREEDY = GreedyOptions()
BEAM = BeamOptions(beam_width=4, nbest=3)

utterances = st.lists(
    st.tuples(
        st.integers(0, 50),
        st.sampled_from([0.06, 0.2, 0.35, 0.5, 0.81, 1.2]),
        st.sampled_from([16000, 16000, 8000, 44100]),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module", params=["torch", "int8", "onnx", "onnx-int8"])
def recognizer(request, bundle_of) -> Recognizer:
    if request.param == "int8" and (reason := int8_objection(projection=False)):
        pytest.skip(reason)
    return Recognizer(bundle_of(), backend=request.param)


@pytest.mark.parametrize("decoder", [GREEDY, BEAM], ids=["greedy", "beam"])
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(recipe=utterances, order=st.randoms(use_true_random=False))
def test_same_transcript_alone_in_any_batch_in_any_order(
    recognizer, waveform_of, decoder, recipe, order
):
    waveforms = [waveform_of(*one) for one in recipe]
    alone = [
        recognizer.recognize([waveform], recognizer.decoder(decoder))[0].text
        for waveform in waveforms
    ]
    shuffled = list(range(len(waveforms)))
    order.shuffle(shuffled)
    batch = recognizer.recognize([waveforms[i] for i in shuffled], recognizer.decoder(decoder))
    assert [transcript.text for transcript in batch] == [alone[i] for i in shuffled]


def test_log_probs_alone_equal_those_in_a_batch(recognizer, waveform_of):
    waveforms = [waveform_of(seed, seconds) for seed, seconds in enumerate((0.3, 1.4, 0.1, 0.9))]
    batch, lengths = recognizer.log_probs(waveforms)
    assert batch.dtype == torch.float32
    assert lengths.dtype == torch.int64
    for row, length, waveform in zip(batch, lengths, waveforms, strict=True):
        alone, frames = recognizer.log_probs([waveform])
        assert frames.tolist() == [length]
        # Relative too: this model's exaggerated weights make log-probabilities of tens.
        torch.testing.assert_close(alone[0], row[:length], rtol=1e-5, atol=1e-5)


def test_onnx_runtime_hears_what_the_default_hears(tiny_recognizer, bundle_of, waveform_of):
    waveforms = [waveform_of(seed, seconds) for seed, seconds in enumerate((0.3, 1.4, 0.1, 0.9))]
    ours, lengths = tiny_recognizer.log_probs(waveforms)
    theirs, expected = Recognizer(bundle_of(), backend="onnx").log_probs(waveforms)
    assert torch.equal(lengths, expected)
    for row, other, length in zip(ours, theirs, lengths, strict=True):
        torch.testing.assert_close(row[:length], other[:length], rtol=1e-5, atol=1e-4)


def test_the_model_says_enough_for_these_tests(tiny_recognizer, waveform_of):
    texts = {tiny_recognizer.recognize([waveform_of(i, 1.0)])[0].text for i in range(8)}
    assert len(texts) >= 4
    assert max(map(len, texts)) >= 3


def test_log_probs_are_normalised(tiny_recognizer, waveform_of):
    log_probs, lengths = tiny_recognizer.log_probs([waveform_of(1, 0.5)])
    assert log_probs.shape == (1, int(lengths[0]), tiny_recognizer.tokenizer.size)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(1, int(lengths[0])))


def test_the_transcript_knows_its_duration_and_alternatives(tiny_recognizer, waveform_of):
    (transcript,) = tiny_recognizer.recognize(
        [waveform_of(3, 0.7, 8000)], tiny_recognizer.decoder(BEAM)
    )
    assert transcript.duration == pytest.approx(0.7)
    assert 1 <= len(transcript.hypotheses) <= 3
    scores = [hypothesis.score for hypothesis in transcript.hypotheses]
    assert scores == sorted(scores, reverse=True)


def test_the_bundles_decoder_is_the_default(bundle_of, waveform_of):
    recognizer = Recognizer(bundle_of(**plain_values(BEAM)))
    waveform = waveform_of(4, 1.0)
    assert recognizer.recognize([waveform]) == recognizer.recognize(
        [waveform], recognizer.decoder(BEAM)
    )


def test_a_decoder_is_made_once_for_all_who_ask_for_its_options(bundle_of, monkeypatch):
    """A server asks for one with each call; what its language model said is of use to the next."""
    made = []

    def make(options, *others, **more):
        made.append(options)
        return make_decoder(options, *others, **more)

    monkeypatch.setattr(recognizer_module, "make_decoder", make)
    recognizer = Recognizer(bundle_of())
    one = recognizer.decoder(BEAM, calibrated=False)
    assert recognizer.decoder(replace(BEAM), calibrated=False) is one
    assert recognizer.decoder(replace(BEAM, nbest=1)).options.nbest == 1
    assert made == [BEAM, replace(BEAM, nbest=1)]
    for width in range(1, 1000):  # of clients who ask for all there are
        recognizer.decoder(replace(BEAM, beam_width=width, nbest=1))
    before = len(made)
    recognizer.decoder(BEAM, [Phrase("ab")])
    recognizer.decoder(BEAM)
    assert len(made) == before + 2, "few are kept, and none with phrases"


def test_nothing_in_nothing_out(tiny_recognizer):
    assert tiny_recognizer.recognize([]) == []
    log_probs, lengths = tiny_recognizer.log_probs([])
    assert (log_probs.shape, lengths.shape) == ((0, 0, 7), (0,))


def test_other_rates_are_resampled(tiny_recognizer, waveform_of):
    waveform = waveform_of(5, 0.8, 44100)
    assert tiny_recognizer.sample_rate == 16000
    ours, _ = tiny_recognizer.log_probs([waveform])
    theirs, _ = tiny_recognizer.log_probs([resample(waveform, 16000)])
    assert torch.equal(ours, theirs)


def test_too_short_says_how_long_it_must_be(tiny_recognizer):
    with pytest.raises(AudioError, match=r"too short") as caught:
        tiny_recognizer.recognize([Waveform(np.zeros(100, np.float32), 16000)])
    least = float(str(caught.value.remedy).split()[3])
    enough = Waveform(np.zeros(round(least * 16000), np.float32), 16000)
    assert len(tiny_recognizer.recognize([enough])) == 1
    short = Waveform(np.zeros(round(least * 16000) - 1, np.float32), 16000)
    with pytest.raises(AudioError):
        tiny_recognizer.recognize([short])


@pytest.mark.parametrize("rate", [8000, 16000])
def test_no_samples_at_all(tiny_recognizer, rate):
    with pytest.raises(AudioError, match="too short"):
        tiny_recognizer.recognize([Waveform(np.zeros(0, np.float32), rate)])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_named(tiny_recognizer, bad):
    samples = np.zeros(16000, np.float32)
    samples[1234] = bad
    with pytest.raises(AudioError, match="sample 1234"):
        tiny_recognizer.recognize([Waveform(samples, 16000)])


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.full(16_000, 1e30, np.float32), 16_000, "sample 0 is far outside"),
        (np.zeros(16_000, np.int16), 16_000, "int16.*divided by 32768"),
        (np.zeros(16_000, np.float32), 0, "sample rate is 0"),
        (np.zeros(16_000, np.float32), -1, "sample rate is -1"),
    ],
)
def test_what_is_no_speech_for_sure_is_refused(tiny_recognizer, samples, rate, message):
    with pytest.raises(AudioError, match=message):
        tiny_recognizer.prepare(Waveform(samples, rate))


def test_samples_of_memory_that_may_not_be_written(tiny_recognizer, waveform_of):
    waveform = waveform_of(0, 1.0)
    fixed = Waveform(np.frombuffer(waveform.samples.tobytes(), np.float32), waveform.sample_rate)
    assert tiny_recognizer.recognize([fixed]) == tiny_recognizer.recognize([waveform])


def test_two_channels_are_refused(tiny_recognizer):
    with pytest.raises(AudioError, match="one channel"):
        tiny_recognizer.recognize([Waveform(np.zeros((2, 16000), np.float32), 16000)])


def test_silence_is_no_failure(tiny_recognizer):
    (transcript,) = tiny_recognizer.recognize([Waveform(np.zeros(16000, np.float32), 16000)])
    assert transcript.duration == 1.0


def test_audio_is_checked_and_resampled_once(tiny_recognizer, waveform_of, monkeypatch):
    resampled = []

    def count(waveform, rate):
        resampled.append(rate)
        return audio.resample(waveform, rate)

    monkeypatch.setattr(recognizer_module, "resample", count)
    waveform = waveform_of(3, 0.7, 8000)
    (whole,) = tiny_recognizer.recognize([waveform])
    assert len(resampled) == 1
    (again,) = tiny_recognizer.recognize([tiny_recognizer.prepare(waveform)])
    assert len(resampled) == 2
    assert again == whole


def test_a_phrase_that_cannot_be_spelled_is_refused_before_there_is_audio(tiny_recognizer):
    with pytest.raises(DecodingError, match="%"):
        tiny_recognizer.decoder(BEAM, [Phrase("100 %")])


def test_phrases_may_be_in_capitals_or_small_letters(tiny_recognizer, waveform_of):
    """Clients of other services send them in small letters, and models may have capitals alone."""
    utterance = [waveform_of(1, 1.0)]

    def heard(*phrases):
        decoder = tiny_recognizer.decoder(BEAM, [Phrase(text, 3.0) for text in phrases])
        return tiny_recognizer.recognize(utterance, decoder)

    assert heard("AB", "Cd E") == heard("ab", "cd e") != heard()
    with pytest.raises(DecodingError, match="'AB %'"):  # as it was given
        tiny_recognizer.decoder(BEAM, [Phrase("AB %")])


def test_an_unknown_device(bundle_of):
    with pytest.raises(ConfigError, match="choose cpu"):
        Recognizer(bundle_of(), "abacus")


def test_running_out_of_memory_is_explained(bundle_of, waveform_of, monkeypatch):
    recognizer = Recognizer(bundle_of(), backend="torch")

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(recognizer.bundle.model, "forward", fail)
    with pytest.raises(AsrError, match=r"1 utterances of up to .*batch smaller"):
        recognizer.recognize([waveform_of(1, 0.5)])


def test_limits_are_for_callers_to_keep(tiny_bundle_path):
    limits = AudioLimits(max_seconds=3.0)
    assert Recognizer.load(tiny_bundle_path, limits=limits).limits == limits
    assert Recognizer.load(tiny_bundle_path).limits == AudioLimits()


@pytest.mark.parametrize("extra", range(0, 640, 80))
def test_no_time_is_beyond_the_audio(tiny_recognizer, waveform_of, extra):
    """The last frame of the network may reach beyond the last sample."""
    long = waveform_of(3, 1.5)
    waveform = Waveform(long.samples[: 16_000 + extra], 16_000)
    for options in (GreedyOptions(), BeamOptions()):
        [transcript] = tiny_recognizer.recognize([waveform], tiny_recognizer.decoder(options))
        for hypothesis in transcript.hypotheses:
            assert hypothesis.tokens
            times = [time for each in hypothesis.tokens for time in (each.start, each.end)]
            assert max(times) <= waveform.duration
            assert times == sorted(times)
