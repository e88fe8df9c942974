"""A model that reads speech while it goes on: the same as by chunks over the whole."""

import math

import pytest
import torch

from asr.features import FeatureConfig, FeatureExtractor
from asr.features.stream import FeatureStream
from asr.nn.chunks import Chunking
from asr.nn.front import FrontOptions
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from asr.stream import Streamer
from asr.types import ConfigError

FRONTS = {
    "plain": {},
    "cepstra": {"kind": "mfcc", "energy": True, "deltas": 1, "num_mels": 26},
    "deltas": {"deltas": 2, "energy": True},
    "stacked": {"stack": 3, "subsample": 2},
    "corpus": {"normalisation": "global", "preemphasis": 0.0},
    "unnormalised": {"normalisation": "none"},
    "kaldi": {"style": "kaldi"},
    "range": {"range_db": 50.0},
}
NETS = {
    "layers": {},
    "one direction": {"bidirectional": False},
    "front": {"front": FrontOptions((2, 3), (2, 2))},
    "pyramid": {"front": FrontOptions((2,), (2,)), "reductions": (2,)},
}


def extractor_of(**options):
    torch.manual_seed(0)
    extractor = FeatureExtractor(FeatureConfig(**options)).eval()
    extractor.mean.normal_(-5.0)
    extractor.inv_std.uniform_(0.3, 0.6)
    return extractor


def model_of(extractor, **network):
    torch.manual_seed(1)
    config = AcousticModelConfig(extractor.config.size, 5, NetworkConfig(8, 2, **network))
    return AcousticModel(config).eval()


def speech(seconds, seed=0):
    torch.manual_seed(seed)
    noise = torch.randn(int(16_000 * seconds))
    swell = torch.sin(torch.linspace(0, 20, len(noise))) + 1.1
    return 0.1 * noise * swell


def whole(extractor, model, samples, chunking):
    """What the model says by chunks, spelled out with all the audio at hand."""
    network = model.config.network
    stride, halo = (network.front.reduction, network.front.halo) if network.front else (1, 0)
    joined = math.prod(network.reductions)
    step, ahead = chunking.frames * joined, chunking.look_ahead * joined  # behind the front
    with torch.inference_mode():
        raw, frames = extractor._raw(samples[None], torch.tensor([len(samples)]))
        total, found, states = extractor.stacked(int(frames)), [], model.initial_states(1)
        for start in range(0, -(-total // stride), step):
            last = min((start + step + ahead) * stride + halo, total)
            known = (last - 1) * extractor.config.subsample + extractor.config.stack
            features, lengths = extractor.stack(normalised(extractor, raw, known), frames)
            if model.front is not None:
                features, lengths = model.front(features, lengths)
            block = features[:, start : start + step + ahead]
            y, states = model.recurrent.chunk(block, torch.tensor([block.shape[1]]), step, states)
            found.append(model._log_probs(y[0, : chunking.frames]))
        return torch.cat(found)


def normalised(extractor, raw, known):
    """``raw (1, T, F0)`` by the statistics of its first ``known`` frames and of the corpus."""
    if not extractor.has_running_statistics:
        mean, inv_std = extractor.fixed_statistics()
        return (raw - mean) * inv_std
    seen, corpus = raw[0, :known].double(), extractor.mean.double()
    weight = 2000 / extractor.config.frame_shift_ms
    mean = (weight * corpus + seen.sum(0)) / (weight + known)
    squares = weight * (extractor.inv_std.double() ** -2 + corpus**2) + seen.square().sum(0)
    return ((raw - mean) / (squares / (weight + known) - mean**2).sqrt()).float()


def run(streamer, pieces):
    """All log-probabilities of a session whose audio comes in ``pieces``."""
    session, found = streamer.begin(), []
    for piece in pieces:
        session.push(piece)
        while streamer.is_ready(session):
            found += streamer.step([session])
    session.end()
    while streamer.is_ready(session):
        found += streamer.step([session])
    return torch.cat(found)


@pytest.mark.parametrize("name", [name for name in FRONTS if name != "range"])
@pytest.mark.parametrize("seconds", [0.05, 0.2, 1.3])
def test_features_in_pieces_are_those_of_the_whole(name, seconds):
    extractor, samples = extractor_of(**FRONTS[name]), speech(seconds)
    frames, _ = extractor._raw(samples[None], torch.tensor([len(samples)]))
    stream, found = FeatureStream(extractor), []
    for piece in samples.split(701):
        stream.push(piece)
        count = stream.available - sum(map(len, found))
        found.append(stream.take(count // 2))
    stream.end()
    found.append(stream.take(stream.available - sum(map(len, found))))
    torch.testing.assert_close(torch.cat(found), frames[0], rtol=0, atol=2e-4)
    if len(frames[0]):
        expected = normalised(extractor, frames, len(frames[0]))[0]
        torch.testing.assert_close(stream.normalised(frames[0]), expected, rtol=0, atol=2e-4)


def test_without_a_corpus_statistics_are_the_streams_own():
    """Older models know of no corpus: a seed of zeros would be worse than none."""
    extractor, samples = extractor_of(), speech(1.0)
    extractor.mean.zero_()
    extractor.inv_std.fill_(1.0)
    stream = FeatureStream(extractor)
    stream.push(samples)
    stream.end()
    found = stream.normalised(stream.take(stream.available))
    torch.testing.assert_close(found.mean(0), torch.zeros(40), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.std(0, correction=0), torch.ones(40), rtol=0, atol=1e-4)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("front", ["plain", "deltas", "stacked", "corpus"])
@pytest.mark.parametrize("chunking", [Chunking(4, 3), Chunking(1, 0), Chunking(5, 9)], ids=str)
def test_a_stream_says_what_chunks_over_the_whole_say(net, front, chunking):
    extractor = extractor_of(**FRONTS[front])
    model = model_of(extractor, **NETS[net])
    streamer = Streamer(extractor, model, chunking)
    for seconds in (0.06, 0.31, 1.7):
        samples = speech(seconds)
        expected = whole(extractor, model, samples, chunking)
        found = run(streamer, samples.split(1600))
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("net", NETS)
def test_one_long_chunk_is_the_whole_network(net):
    extractor = extractor_of(**FRONTS["corpus"])
    model = model_of(extractor, **NETS[net])
    samples = speech(1.5)
    features, lengths = extractor(samples[None], torch.tensor([len(samples)]))
    with torch.inference_mode():
        expected = model(features, lengths)[0, : int(model.num_frames(lengths)[0])]
    found = run(Streamer(extractor, model, Chunking(500, 0)), [samples])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("range_db", [None, 50.0])
def test_one_long_chunk_has_the_statistics_of_the_whole(range_db):
    """Without a corpus to begin with, and with the noise that the loudest frame asks for."""
    extractor, samples = extractor_of(range_db=range_db), speech(1.5)
    extractor.mean.zero_()
    features, lengths = extractor(samples[None], torch.tensor([len(samples)]))
    model = model_of(extractor)
    with torch.inference_mode():
        expected = model(features, lengths)[0]
    found = run(Streamer(extractor, model, Chunking(500, 0)), [samples])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_noise_in_a_stream_follows_the_loudest_frame_so_far():
    extractor, samples = extractor_of(range_db=30.0), speech(0.5)
    stream = FeatureStream(extractor)
    stream.push(torch.cat([0.01 * samples, samples]))
    faint = stream.take(40)
    first = stream.normalised(faint)
    alone = FeatureStream(extractor)
    alone.push(samples)
    alone.take(40)
    loudest = stream.statistics.loudest.clone()
    assert float(alone.statistics.loudest - loudest) == pytest.approx(math.log(1e4), abs=0.01)
    stream.take(50)
    later = stream.normalised(faint)
    assert float(first.std(0).mean()) > 5 * float(later.std(0).mean())  # it is noise now


@pytest.mark.parametrize("net", ["front", "pyramid"])
@pytest.mark.parametrize("front", ["deltas", "range"])
def test_pieces_of_any_size_change_no_bit(net, front):
    extractor = extractor_of(**FRONTS[front])
    streamer = Streamer(extractor, model_of(extractor, **NETS[net]), Chunking(4, 3))
    samples = speech(0.9)
    expected = run(streamer, [samples])
    for size in (1, 160, 5000):
        assert torch.equal(run(streamer, samples.split(size)), expected)
    assert torch.equal(run(streamer, [samples[:0], samples[:7000], samples[7000:]]), expected)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("chunking", [Chunking(3, 2), Chunking(1, 0)], ids=str)
def test_sessions_of_a_batch_are_as_alone_to_the_bit(net, chunking):
    extractor = extractor_of()
    streamer = Streamer(extractor, model_of(extractor, **NETS[net]), chunking)
    utterances = [speech(seconds, seed) for seed, seconds in enumerate((1.1, 0.3, 2.0))]
    alone = [run(streamer, [samples]) for samples in utterances]
    sessions, found = [streamer.begin() for _ in utterances], [[] for _ in utterances]
    for session, samples in zip(sessions, utterances, strict=True):
        session.push(samples)
        session.end()
    while ready := [i for i, session in enumerate(sessions) if streamer.is_ready(session)]:
        for i, log_probs in zip(ready, streamer.step([sessions[i] for i in ready]), strict=True):
            found[i].append(log_probs)
    for pieces, expected in zip(found, alone, strict=True):
        assert torch.equal(torch.cat(pieces), expected)


@pytest.mark.parametrize("net", NETS)
def test_a_chunk_waits_for_no_more_audio_than_it_says(net):
    extractor = extractor_of(**FRONTS["deltas"])
    streamer = Streamer(extractor, model_of(extractor, **NETS[net]), Chunking(6, 4))
    session, needed = streamer.begin(), 0
    while not streamer.is_ready(session):
        session.push(speech(0.001))
        needed += 16
    assert needed / 16_000 == pytest.approx(streamer.latency, abs=0.0011)


def test_memory_does_not_grow_with_the_utterance():
    extractor = extractor_of(**FRONTS["deltas"])
    streamer = Streamer(extractor, model_of(extractor, **NETS["front"]), Chunking(4, 3))
    session, sizes = streamer.begin(), []
    for _ in range(40):
        session.push(speech(0.25))
        while streamer.is_ready(session):
            streamer.step([session])
        stream = session.features
        sizes.append(
            len(session.frames)
            + len(stream._base)
            + len(stream._samples)
            + sum(map(len, stream._fresh))
        )
    assert max(sizes[20:]) <= max(sizes[5:20])


def test_audio_after_the_end_is_refused_and_silence_of_no_frames_has_none():
    extractor = extractor_of()
    streamer = Streamer(extractor, model_of(extractor), Chunking(4, 3))
    session = streamer.begin()
    session.push(speech(0.01))
    session.end()
    assert not streamer.is_ready(session)
    with pytest.raises(ConfigError, match="another stream"):
        session.push(speech(0.01))


def test_torchs_own_lstm_does_not_stream():
    extractor = extractor_of()
    with pytest.raises(ConfigError, match="another cell"):
        Streamer(extractor, model_of(extractor, cell="torch-lstm"), Chunking(4, 3))
