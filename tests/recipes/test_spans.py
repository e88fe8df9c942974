"""A cut is a span of a recording: its start, its duration, its channel, wherever audio is read."""

import gzip
import json

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.audio import AudioSource

from asr.tokens import Tokenizer
from asr.types import AudioError, CorpusError
from recipes.common.audio import load_samples
from recipes.common.data import SpeechDataModule, manifest_path, tokens_path
from recipes.common.manifests import read_manifest

RATE = 16_000
SAMPLES = 0.1 * np.random.default_rng(0).standard_normal((4 * RATE, 2)).astype("f4")


@pytest.fixture
def recording(tmp_path):
    """Four seconds of two channels, as lhotse describes them."""
    path = tmp_path / "long.wav"
    soundfile.write(path, SAMPLES, RATE, subtype="FLOAT")
    return Recording.from_file(path, recording_id="long")


def cuts_of(recording, spans):
    """A cut of each ``(start, duration, channel)``, made by lhotse itself."""
    cuts = []
    for number, (start, duration, channel) in enumerate(spans):
        cut = recording.to_cut().with_channels(channel).truncate(offset=start, duration=duration)
        text = SupervisionSegment(
            f"s{number}", "long", 0.0, duration, channel, text="GO", speaker="x"
        )
        cut.supervisions = [text]
        cuts.append(cut.with_id(f"c{number}"))
    return cuts


def save(folder, cuts, split="train"):
    CutSet.from_cuts(cuts).to_file(manifest_path(folder, split))
    Tokenizer.from_texts(["GO"]).save(tokens_path(folder))
    return read_manifest(manifest_path(folder, split))


SPANS = [(0.0, 0.56, 0), (1.25, 0.56, 1), (3.44, 0.56, 0), (0.7, 1.0, [0, 1])]


def expected(start, duration, channel):
    part = SAMPLES[round(start * RATE) : round((start + duration) * RATE)]
    return part[:, channel] if isinstance(channel, int) else part.mean(axis=1)


def test_the_span_is_read_and_nothing_else(tmp_path, recording):
    for cut, span in zip(save(tmp_path, cuts_of(recording, SPANS)), SPANS, strict=True):
        np.testing.assert_allclose(load_samples(cut).samples, expected(*span), atol=1e-7)
        assert np.array_equal(cut.load_audio().mean(axis=0), load_samples(cut).samples)  # lhotse's


def test_training_statistics_and_preflight_see_the_span(tmp_path, recording):
    save(tmp_path, cuts_of(recording, SPANS))
    data = SpeechDataModule(str(tmp_path), num_buckets=1)
    seen = {}
    report = data.preflight("train", lambda samples: seen.setdefault(samples, samples))
    assert len(report.usable) == len(SPANS)
    assert set(seen) == {round(duration * RATE) for _, duration, _ in SPANS}
    for loader in (data.train_dataloader(), data.plain_dataloader("train")):
        lengths = {}
        for batch in loader:
            lengths.update(zip(batch.ids, batch.lengths.tolist(), strict=True))
        assert lengths == {f"c{n}": round(span[1] * RATE) for n, span in enumerate(SPANS)}


def test_files_of_one_channel_each_are_one_recording(tmp_path):
    sources = []
    for channel in range(2):
        path = tmp_path / f"{channel}.wav"
        soundfile.write(path, SAMPLES[:, channel], RATE, subtype="FLOAT")
        sources.append(AudioSource("file", [channel], str(path)))
    recording = Recording("long", sources, RATE, len(SAMPLES), len(SAMPLES) / RATE)
    for cut, span in zip(save(tmp_path, cuts_of(recording, SPANS)), SPANS, strict=True):
        np.testing.assert_allclose(load_samples(cut).samples, expected(*span), atol=1e-7)


def test_a_file_that_ends_before_its_cut_is_named(tmp_path, recording):
    (cut,) = save(tmp_path, cuts_of(recording, [(3.0, 1.0, 0)]))
    soundfile.write(tmp_path / "long.wav", SAMPLES[: 3 * RATE], RATE)
    with pytest.raises(AudioError, match=r"long\.wav: the audio ends at 3\.00 s, c0 at 4\.00 s"):
        load_samples(cut)


def change(**values):
    return lambda row: row.update(values)


ODD_ROWS = {
    "a channel that is not there": (change(channel=5), "no channel 5"),
    "no duration": (change(duration=0.0), "a span of 0.0 s"),
    "before the start": (change(start=-1.0), "from -1.0 s"),
    "two texts": (
        lambda row: row["supervisions"].append(dict(row["supervisions"][0], id="t")),
        "2 supervisions",
    ),
    "audio from elsewhere": (
        lambda row: row["recording"]["sources"][0].update(type="url", source="http://x/y.wav"),
        "is not there",
    ),
    "changed by lhotse": (
        lambda row: row["recording"].update(
            transforms=[{"name": "Speed", "kwargs": {"factor": 1.1}}]
        ),
        "changed by lhotse",
    ),
}


@pytest.mark.parametrize("what", ODD_ROWS)
def test_a_row_that_cannot_be_read_is_named_before_training(tmp_path, recording, what):
    damage, said = ODD_ROWS[what]
    save(tmp_path, cuts_of(recording, SPANS[:1]))
    path = manifest_path(tmp_path, "train")
    row = json.loads(gzip.decompress(path.read_bytes()))
    damage(row)
    path.write_bytes(gzip.compress(json.dumps(row).encode()))
    with pytest.raises(CorpusError, match=said) as caught:
        read_manifest(path)
    assert "row 1 (c0)" in str(caught.value)


def test_padded_and_mixed_cuts_are_refused(tmp_path, recording):
    (cut,) = cuts_of(recording, SPANS[:1])
    CutSet.from_cuts([cut.pad(duration=2.0)]).to_file(manifest_path(tmp_path, "train"))
    with pytest.raises(CorpusError, match="MixedCut"):
        read_manifest(manifest_path(tmp_path, "train"))


def test_texts_of_ones_own_manifests_are_normalised(tmp_path, recording):
    (cut,) = cuts_of(recording, SPANS[:1])
    cut.supervisions[0].text = "\ufeffE\u0301\u00a0 A"
    assert save(tmp_path, [cut])[0].supervisions[0].text == "\u00c9 A"
