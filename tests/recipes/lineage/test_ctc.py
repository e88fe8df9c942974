"""Forward-backward against enumeration and torch; the experiment in small."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from asr.audio import write_wav
from asr.tokens import min_frames
from asr.types import CorpusError, Waveform
from recipes.common.data import manifest_path
from recipes.common.manifests import Utterance, write_manifest
from recipes.lineage.ctc import REDUCED, run
from recipes.lineage.ctc_exact import enumerate_labellings, enumerate_occupancy, passes
from recipes.lineage.ctc_measures import decoding, framewise, spikes, stages, two_frames
from recipes.lineage.ctc_nets import learn, log_probs
from recipes.lineage.ctc_speech import NO_LABEL, Spoken, folded, timit, tones
from recipes.lineage.experiment import Settings

LABELS = (1, 2, 3)


@st.composite
def cases(draw, most_frames=6):
    """Unnormalised outputs ``(T, V)`` and labels, which may repeat or be too many for T."""
    T, V = draw(st.integers(1, most_frames)), draw(st.integers(2, 4))
    labels = draw(st.lists(st.integers(1, V - 1), max_size=T + 1))
    seed, scale = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.1, 1.0, 5.0]))
    return scale * np.random.default_rng(seed).standard_normal((T, V)), tuple(labels)


def normalised(u):
    return u - np.logaddexp.reduce(u, axis=1, keepdims=True)


@given(cases())
@settings(max_examples=100, deadline=None)
def test_forward_backward_equals_the_sum_over_all_paths(case):
    u, labels = case
    log_y = normalised(u)
    expected = enumerate_labellings(np.exp(log_y))
    found = passes(log_y, labels)
    if min_frames(labels) > len(u):
        assert labels not in expected
        assert found.log_probability == -math.inf
        return
    assert found.log_probability == pytest.approx(math.log(expected[labels]), abs=1e-10)
    for t in range(len(u)):  # eq. 14
        assert found.log_probability_at(t) == pytest.approx(found.log_probability, abs=1e-10)
    occupancy = enumerate_occupancy(np.exp(log_y), labels)
    np.testing.assert_allclose(found.occupancy, occupancy, rtol=0, atol=1e-10)


@given(cases(most_frames=40).filter(lambda case: min_frames(case[1]) <= len(case[0])))
@settings(max_examples=100, deadline=None)
def test_forward_backward_equals_torch(case):
    u, labels = case
    logits = torch.tensor(u, requires_grad=True)
    loss = F.ctc_loss(
        logits.log_softmax(-1),
        torch.tensor(labels, dtype=torch.long),
        torch.tensor(len(u)),
        torch.tensor(len(labels)),
        reduction="sum",
    )
    loss.backward()
    found = passes(normalised(u), labels)
    assert -found.log_probability == pytest.approx(loss.item(), abs=1e-10)
    np.testing.assert_allclose(found.error_signal, logits.grad.numpy(), rtol=0, atol=1e-10)


@given(cases(most_frames=5))
@settings(max_examples=25, deadline=None)
def test_some_labelling_is_always_spelt(case):
    log_y = normalised(case[0])
    spelt = enumerate_labellings(np.exp(log_y))
    total = sum(math.exp(passes(log_y, labels).log_probability) for labels in spelt)
    assert total == pytest.approx(1.0, abs=1e-10)


def test_the_best_path_may_spell_the_less_probable_labelling():
    found = two_frames(0.6)
    assert found["best_path"] == found["best_path_labelling"] == pytest.approx(0.36, abs=1e-15)
    assert found["A"] == pytest.approx(0.64, abs=1e-15)
    assert found["prefix_search"] == pytest.approx(0.64, abs=1e-15)


# Speech


def test_phones_fold_and_those_that_become_one_class_join():
    rows = [("h#", 0, 10), ("bcl", 10, 20), ("b", 20, 25), ("q", 25, 30), ("ix", 30, 40)]
    found = [(s.phone, s.begin, s.end) for s in folded(rows)]
    assert found == [("sil", 0, 20), ("b", 20, 25), ("ih", 30, 40)]


def test_equal_phones_about_a_glottal_stop_stay_two():
    found = folded([("iy", 0, 10), ("q", 10, 20), ("iy", 20, 30)])
    assert [s.phone for s in found] == ["iy", "iy"]


def write_timit(folder, phones="0 4000 h#\n4000 5000 q\n5000 8000 iy\n"):
    rng = np.random.default_rng(0)
    for split in ("train", "dev"):
        audio = folder / split / "SX1.wav"
        audio.parent.mkdir()
        write_wav(audio, Waveform(0.1 * rng.standard_normal(8000).astype(np.float32), 16_000))
        if phones:
            audio.with_name("SX1.PHN").write_text(phones)
        utterance = Utterance(f"{split}-sx1", audio, "sil iy", split)
        write_manifest(manifest_path(folder, split), [utterance])


def test_prepared_timit_has_the_segments_of_its_files(tmp_path):
    write_timit(tmp_path)
    corpus = timit(80, 24, tmp_path)
    assert corpus.title == "TIMIT"
    assert corpus.tokens == ("<blank>", "iy", "sil")
    [spoken] = corpus.held_out
    assert spoken.labels.tolist() == [2, 1]
    middles = np.arange(len(spoken.frames)) * 160 + 256
    expected = np.select([middles < 4000, middles < 5000], [2, NO_LABEL], 1)
    assert spoken.frames.tolist() == expected.tolist()


def test_timit_without_its_phones_is_refused(tmp_path):
    write_timit(tmp_path, phones="")
    with pytest.raises(CorpusError, match="no phones"):
        timit(80, 24, tmp_path)


def test_without_prepared_timit_there_is_none(tmp_path):
    assert timit(80, 24, tmp_path) is None


# Measures


def spoken(frames, labels, spans):
    features = torch.zeros(len(frames), 1)
    return Spoken("x", features, torch.tensor(labels), np.array(spans), torch.tensor(frames))


def certain(path, vocabulary=4):
    """ln y of a network that is nearly sure of ``path``."""
    return np.log(0.99 * np.eye(vocabulary)[path] + 0.01 / vocabulary)


def test_spikes_count_where_they_stand():
    utterance = spoken([1] * 4 + [2] * 4 + [3] * 4, LABELS, [(0, 4), (4, 8), (8, 12)])
    # 1 in its segment, 2 one frame before its own, 3 three frames before its own
    found = spikes([certain([0, 1, 1, 2, 0, 3, 0, 0, 0, 0, 0, 0])], [utterance])
    assert (found["spikes"], found["right"]) == (3, 3)
    assert found["right_and_in_segment"] == pytest.approx(2 / 3)
    assert found["blank_share"] == pytest.approx(8 / 12)
    assert found["frames_per_run"] == pytest.approx(4 / 3)


def test_frames_of_no_class_do_not_count():
    utterance = spoken([1, 1, NO_LABEL, 2], (1, 2), [(0, 2), (3, 4)])
    found = framewise([certain([1, 2, 2, 2])], [utterance])
    assert found["frame_accuracy"] == pytest.approx(2 / 3)
    assert found["blank_share"] == 0


def test_during_begins_with_half_of_the_labels():
    utterance = spoken([1, 1, 2, 2, 3, 3], LABELS, [(0, 2), (2, 4), (4, 6)])
    course = [
        certain(p) for p in ([1, 2, 1, 2, 1, 2], [0] * 6, [0, 1, 0, 0, 3, 0], [1, 1, 2, 2, 3, 3])
    ]
    found = stages(course, utterance)
    assert found["epochs"] == {"before": 0, "during": 2, "after": 3}
    assert found["norm"][3] < found["norm"][2]


def test_prefix_search_finds_what_best_path_misses():
    utterance = spoken([1, 1], (1,), [(0, 2)])
    found = decoding([np.log([[0.6, 0.4]] * 2)], [utterance], 4)
    assert found["gain_nats"] == [pytest.approx(math.log(0.64 / 0.36))]
    assert (found["more_probable"], found["less_probable"]) == (1, 0)
    assert found["phone_error_rate"] == {"best_path": 1.0, "prefix_search": 0.0}


def test_a_beam_too_narrow_is_reported_with_the_width_that_is_enough():
    utterance = spoken([1] * 6, (1,), [(0, 6)])
    for seed in range(200):
        log_y = normalised(2 * np.random.default_rng(seed).standard_normal((6, 4)))
        found = decoding([log_y], [utterance], 1)
        if found["less_probable"]:
            break
    assert found["gain_nats"][0] < 0
    [width] = found["rescued_at"]
    assert decoding([log_y], [utterance], width)["less_probable"] == 0


def test_a_beam_that_holds_all_prefixes_is_never_less_probable_than_best_path():
    utterance = spoken([1] * 5, (1,), [(0, 5)])
    for seed in range(100):
        log_y = normalised(2 * np.random.default_rng(seed).standard_normal((5, 4)))
        assert decoding([log_y], [utterance], 4**5)["less_probable"] == 0


# The experiment


def test_a_seed_gives_the_same_network_again():
    corpus = tones(8, 1)
    plan = type(REDUCED)(train=8, held_out=1, cells=8, epochs=2)
    nets = [learn(corpus, plan, 5, ctc=True, look=lambda net: None) for _ in range(2)]
    first, second = (log_probs(net, corpus.held_out[0]) for net in nets)
    np.testing.assert_array_equal(first, second)


def test_the_experiment_in_small_shows_every_direction():
    result = run(Settings(reduced=True))
    assert result.numbers["criteria"] == dict.fromkeys(result.numbers["criteria"], True)
    assert result.holds
    [seed] = result.numbers["seeds"]
    assert seed["ctc"]["blank_share"] > 0.5
    assert seed["framewise"]["frame_accuracy"] > 0.8
    assert seed["ctc"]["frames_per_run"] < seed["framewise"]["frames_per_run"] / 2
    assert "TIMIT is not prepared here" in result.verdict
