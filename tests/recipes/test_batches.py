"""Plans of batches: within their limits, whole, reproducible, and shared out over processes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import MonoCut

from asr.augment import (
    AddNoise,
    AugmentConfig,
    BabbleConfig,
    Gain,
    RecordedNoiseConfig,
    SilenceConfig,
    TelephoneConfig,
)
from asr.types import AsrError, ConfigError, CorpusError
from recipes.common.batches import BatchLimits, BatchSampler
from recipes.common.data import SpeechDataModule

durations = st.lists(st.floats(0.1, 40.0), min_size=4, max_size=120)


def cuts(seconds):
    return [MonoCut(f"{n}", 0.0, duration, 0) for n, duration in enumerate(seconds)]


def ids(sampler, epoch=0):
    sampler.set_epoch(epoch)
    return [[cut.id for cut in drawn.cuts] for drawn in sampler]


@settings(deadline=None, max_examples=60)
@given(durations, st.floats(1.0, 60.0), st.integers(1, 16), st.integers(1, 8), st.integers(1, 3))
def test_every_utterance_comes_once_an_epoch_within_the_limits(
    seconds, most_seconds, most, buckets, processes
):
    limits = BatchLimits(most, most_seconds, buckets)
    seen, lengths, pairs = [], set(), 0
    for rank in range(processes):
        how = {"shuffle": True, "stretch": 1.25, "rank": rank, "world_size": processes}
        sampler = BatchSampler(cuts(seconds), limits, **how)
        lengths.add(len(sampler))
        for drawn in sampler:
            padded = len(drawn.cuts) * max(cut.duration for cut in drawn.cuts) * 1.25
            assert drawn.cuts
            if len(drawn.cuts) > most or (len(drawn.cuts) > 1 and padded > most_seconds):
                assert len(drawn.cuts) == 2
                pairs += 1
            seen += [cut.id for cut in drawn.cuts]
        assert len(list(sampler)) == len(sampler)
    assert len(lengths) == 1
    assert pairs < processes  # so that single utterances come out even
    assert sorted(seen) == sorted(cut.id for cut in cuts(seconds))


@pytest.mark.parametrize(("buckets", "limit"), [(8, 50.0), (2, 50.0)])
def test_the_limit_of_seconds_costs_little(buckets, limit):
    """Batches are not half as large as they may be, whatever the number of groups."""
    seconds = np.random.default_rng(0).gamma(4.0, 2.0, size=2000)
    sampler = BatchSampler(cuts(seconds), BatchLimits(1000, limit, buckets), shuffle=True)
    padded = [
        len(drawn.cuts) * max(cut.duration for cut in drawn.cuts)
        for drawn in sampler
        if len(drawn.cuts) > 1
    ]
    assert max(padded) <= limit
    assert np.mean(padded) > 0.6 * limit


def test_an_epoch_has_an_order_of_its_own_and_always_the_same_one():
    seconds = np.linspace(1.0, 9.0, 40)
    first, again = (
        BatchSampler(cuts(seconds), BatchLimits(4), shuffle=True, seed=3) for _ in range(2)
    )
    epochs = [ids(first, epoch) for epoch in range(3)]
    assert ids(again, 2) == epochs[2]
    assert epochs[0] != epochs[1] != epochs[2]
    assert ids(BatchSampler(cuts(seconds), BatchLimits(4), shuffle=True, seed=4)) != epochs[0]


def test_it_goes_on_within_an_epoch_once():
    sampler = BatchSampler(cuts(np.linspace(1, 9, 40)), BatchLimits(4), shuffle=True)
    whole = ids(sampler, 1)
    sampler.start_at(1, 3)
    assert ids(sampler, 1) == whole[3:]
    assert ids(sampler, 1) == whole


def test_more_processes_than_utterances_are_refused():
    with pytest.raises(CorpusError, match="2 utterances for 3 processes"):
        BatchSampler(cuts([1.0, 2.0]), BatchLimits(), world_size=3)


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"batch_seconds": 0.0}, {"batch_seconds": float("nan")}]
)
def test_limits_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        BatchLimits(**wrong)


@pytest.mark.parametrize("wrong", [{"num_workers": -1}, {"num_buckets": 0}, {"sample_rate": 0}])
def test_data_options_that_cannot_be_are_refused(toy_data, wrong):
    with pytest.raises(AsrError, match=next(iter(wrong))):
        SpeechDataModule(str(toy_data), **wrong)


class Processes:
    """What the data ask a trainer of two processes."""

    world_size = 2

    class fit_loop:  # noqa: N801
        class epoch_progress:  # noqa: N801
            class current:  # noqa: N801
                started = processed = 0

    def __init__(self, rank):
        self.global_rank = rank


def draws(data_dir, rank=0, epoch=0, workers=0):
    """Utterances of an epoch with their lengths after a change of speed."""
    data = SpeechDataModule(
        str(data_dir), batch_size=2, speed_factors=(0.8, 0.9, 1.1, 1.2), num_workers=workers
    )
    if rank is not None:
        data.trainer = Processes(rank)
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    batches = list(loader)
    return {n: s for b in batches for n, s in zip(b.ids, b.lengths.tolist(), strict=True)}


def test_processes_share_the_data_and_draw_their_own_speeds(toy_data):
    first, second = (draws(toy_data, rank) for rank in range(2))
    alone = draws(toy_data, rank=None)
    assert not set(first) & set(second)
    assert {**first, **second} == alone  # an utterance's speed is its own, wherever it is loaded
    assert list(first.values()) != list(second.values())


def test_speeds_are_new_in_each_epoch_and_the_same_with_loader_processes(toy_data):
    first, second = (draws(toy_data, epoch=epoch) for epoch in range(2))
    common = set(first) & set(second)
    assert any(first[name] != second[name] for name in common)
    assert draws(toy_data, epoch=0, workers=1) == first


def changed(data_dir, **options):
    """Waveforms of the first epoch by id, all changes made of every utterance."""
    noise = RecordedNoiseConfig(str(data_dir.parent / "corpus" / "train3.wav"), probability=1.0)
    augment = AugmentConfig(
        silence=SilenceConfig(1.0, 1.0, probability=1.0),
        babble=BabbleConfig(probability=1.0),
        noise=noise,
        gain=Gain(probability=1.0),
        telephone=TelephoneConfig(probability=1.0),
    )
    data = SpeechDataModule(str(data_dir), augment=augment, **options)
    batches = list(data.train_dataloader())
    found = {}
    for batch in batches:
        for name, samples, length in zip(batch.ids, batch.waveforms, batch.lengths, strict=True):
            found[name] = samples[:length].numpy()
    return found, batches


def test_changes_are_the_same_in_any_batch_and_with_any_number_of_workers(toy_data):
    alone, _ = changed(toy_data, batch_size=1)
    together, _ = changed(toy_data, batch_size=8, num_workers=2)
    assert set(alone) == set(together)
    assert all(np.array_equal(alone[name], together[name]) for name in alone)


def test_batches_keep_their_limit_with_silence_added(toy_data):
    _, batches = changed(toy_data, batch_size=64, batch_seconds=8.0, speed_factors=(0.8, 1.2))
    sizes = [batch.waveforms.shape for batch in batches]
    # soxr rounds each length up to a sample
    assert all(count * (size - 1) <= 8.0 * 16_000 for count, size in sizes)
    assert max(count for count, _ in sizes) > 1


def test_the_development_split_is_never_changed(toy_data):
    plain = SpeechDataModule(str(toy_data), batch_size=6)
    data = SpeechDataModule(
        str(toy_data), batch_size=6, augment=AugmentConfig(gain=Gain(-20.0, -20.0, 1.0))
    )
    for first, second in zip(data.val_dataloader(), plain.val_dataloader(), strict=True):
        assert torch.equal(first.waveforms, second.waveforms)
        assert first.ids == second.ids


def test_noise_given_twice_is_refused(toy_data):
    with pytest.raises(ConfigError, match=r"data\.noise"):
        SpeechDataModule(
            str(toy_data), noise=AddNoise(), augment=AugmentConfig(computed_noise=AddNoise())
        )
