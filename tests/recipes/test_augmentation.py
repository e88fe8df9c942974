"""What training hears: joined utterances, audio without words, warps; the pre-flight counts it."""

import numpy as np
import pytest

from asr.audio import read_audio
from asr.augment import (
    AugmentConfig,
    JoinConfig,
    NoSpeechConfig,
    SilenceConfig,
    SpeedPerturbation,
    VocalTractConfig,
)
from asr.tokens import Tokenizer
from asr.types import ConfigError
from recipes.common.augmentation import Augmentation, Example
from recipes.common.cli import prepare
from recipes.common.data import SpeechDataModule, tokens_path

# Lightning's own, about versions to come.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
]

RATE = 16_000
ALWAYS = JoinConfig(2, probability=1.0)


def augmentation(config, speed=None, batch_seconds=120.0):
    return Augmentation(config, speed, RATE, batch_seconds, lambda rng: np.zeros(1, "f4"))


def examples(*seconds, speaker="anna"):
    return [
        Example(f"u{n}", speaker, f"word {n}", np.full(int(length * RATE), 0.1 * (n + 1), "f4"))
        for n, length in enumerate(seconds)
    ]


def test_joined_utterances_carry_all_texts_ids_and_samples():
    joined = augmentation(AugmentConfig(join=ALWAYS))(examples(1.0, 2.0, 1.5), 0, 0)
    assert [item.id for item in joined] == ["u0+u1", "u2"]
    assert [item.text for item in joined] == ["word 0 word 1", "word 2"]
    assert 3.1 <= len(joined[0].samples) / RATE <= 3.5
    assert joined[0].speaker == "anna"


def test_several_speakers_are_no_speaker():
    both = [*examples(1.0), *examples(1.0, speaker="ben")]
    assert augmentation(AugmentConfig(join=ALWAYS))(both, 0, 0)[0].speaker is None


def test_audio_without_words_has_an_empty_text_and_joins_as_silence():
    config = AugmentConfig(no_speech=NoSpeechConfig(probability=1.0))
    (alone,) = augmentation(config)(examples(2.0), 0, 0)
    assert alone.text == ""
    assert len(alone.samples) == 2 * RATE
    half = AugmentConfig(no_speech=NoSpeechConfig(probability=0.5), join=ALWAYS)
    texts = {augmentation(half)(examples(1.0, 1.0), 0, epoch)[0].text for epoch in range(40)}
    assert texts == {"word 0 word 1", "word 0", "word 1", ""}


def test_everything_is_new_each_epoch_and_the_same_again():
    config = AugmentConfig(
        no_speech=NoSpeechConfig(probability=0.3),
        join=JoinConfig(3, probability=0.5),
        silence=SilenceConfig(),
        vocal_tract=VocalTractConfig(),
    )

    def epoch(number):
        made = augmentation(config, SpeedPerturbation())(examples(*[1.0] * 6), 7, number)
        return [(item.id, item.text, item.samples.tobytes(), item.warp) for item in made]

    epochs = [epoch(number) for number in range(5)]
    assert epochs == [epoch(number) for number in range(5)]
    assert len({str(made) for made in epochs}) == 5


def num_frames(samples):
    """Of 25 ms every 10 ms, stacked and thinned out by three."""
    return max(0, (1 + (samples - 512) // 160 - 3) // 3 + 1)


def test_the_preflight_leaves_room_for_the_space_between_joined_texts():
    """Two utterances that each have as many frames as labels still have them when joined."""
    tight = augmentation(AugmentConfig(join=JoinConfig(2, 0.0, 0.5, probability=1.0)))
    roomy = augmentation(AugmentConfig(join=JoinConfig(2, 0.2, 0.5, probability=1.0)))
    plain = augmentation(AugmentConfig())
    for seconds in np.linspace(0.3, 3.0, 57):
        frames = plain.fewest_frames(seconds, num_frames)
        assert frames == num_frames(int(seconds * RATE))
        assert roomy.fewest_frames(seconds, num_frames) == frames
        labels = tight.fewest_frames(seconds, num_frames)
        assert num_frames(2 * int(seconds * RATE)) >= 2 * labels + 1


def test_the_fastest_speed_is_counted():
    fast = augmentation(AugmentConfig(), SpeedPerturbation((0.9, 1.25)))
    assert fast.fewest_frames(2.0, lambda samples: samples) == int(1.6 * RATE)


@pytest.fixture
def spaced(toy, tmp_path):
    """The toy corpus with a token list that has a space."""
    prepare(toy.recipe(), tmp_path / "corpus", tmp_path / "data")
    Tokenizer.from_texts(["a b"]).save(tokens_path(tmp_path / "data"))
    return tmp_path / "data"


def test_batches_of_joined_utterances_keep_their_limit_and_lose_none(spaced):
    data = SpeechDataModule(
        str(spaced),
        batch_size=64,
        batch_seconds=6.0,
        speed_factors=(0.8, 1.2),
        augment=AugmentConfig(join=ALWAYS, silence=SilenceConfig(0.3, 0.3)),
    )
    batches = list(data.train_dataloader())
    ids = [name for batch in batches for joined in batch.ids for name in joined.split("+")]
    assert len(ids) == len(set(ids)) == 24
    assert any("+" in name for batch in batches for name in batch.ids)
    for batch in batches:
        count, size = batch.waveforms.shape
        assert count * (size - 2) <= 6.0 * RATE  # soxr rounds each length up to a sample
        for text, length, target in zip(
            batch.texts, batch.target_lengths, batch.targets, strict=True
        ):
            assert data.tokenizer.decode(target[:length].tolist()) == text


def test_texts_without_a_space_between_them_cannot_be_joined(toy_data):
    with pytest.raises(ConfigError, match="join: the token list has no space"):
        SpeechDataModule(str(toy_data), augment=AugmentConfig(join=JoinConfig()))


def test_fit_trains_on_all_of_it_and_lets_people_hear_it(toy, spaced, tmp_path):
    options = (
        "{join: {probability: 1}, no_speech: {probability: 0.3}, vocal_tract: {}, silence: {}}"
    )
    run = ["--trainer.max_epochs", "1", "--data.augment", options, "--examples", "5"]
    assert toy.fit(spaced, tmp_path / "run", *run) == 0
    folder = tmp_path / "run" / "examples"
    header, *rows = (folder / "examples.tsv").read_text().splitlines()
    assert header == "file\tid\ttext"
    names = [row.split("\t")[0] for row in rows]
    assert names == sorted(path.name for path in folder.glob("*.wav"))
    assert len(names) == 5
    data = SpeechDataModule(
        str(spaced),
        batch_size=8,
        augment=AugmentConfig(
            join=ALWAYS,
            no_speech=NoSpeechConfig(probability=0.3),
            vocal_tract=VocalTractConfig(),
            silence=SilenceConfig(),
        ),
    )
    batch = next(iter(data.train_dataloader()))
    assert rows[0].split("\t")[1:] == [batch.ids[0], batch.texts[0]]
    heard = read_audio(folder / names[0]).samples
    assert np.allclose(heard, batch.waveforms[0, : batch.lengths[0]], atol=1e-4)
