"""A toy corpus whose letters are tones, and how to train on it in a second."""

from pathlib import Path

import numpy as np
import torch

from asr.audio import write_wav
from asr.features import FeatureConfig
from asr.nn.model import NetworkConfig
from asr.tokens import Tokenizer
from asr.types import Waveform
from recipes.common.cli import main
from recipes.common.data import SpeechDataModule, tokens_path
from recipes.common.manifests import Utterance
from recipes.common.metric import WER
from recipes.common.module import SpeechModule
from recipes.common.recipe import Recipe

RATE = 16_000
HERTZ = {"a": 400.0, "b": 1500.0}

OPTIONS = [
    *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
    *("--trainer.log_every_n_steps", "1"),
    *(
        "--model.network.hidden_size",
        "16",
        "--model.network.num_layers",
        "1",
        "--model.network.dropout",
        "0",
    ),
    *("--model.network.front", "null", "--model.objective.intermediate", "[]"),
    *("--model.features.stack", "3", "--model.features.subsample", "3"),
    *("--model.features.energy", "true", "--data.augment", "null"),
    *("--model.spec_augment", "null", "--model.learning_rate", "0.02"),
    *("--model.objective.consistency", "0", "--ema", "0"),
    *("--model.schedule.warmup_steps", "5", "--data.speed_factors", "[1.0]"),
]


def spoken(text, rng):
    """A tone a letter."""
    pieces = [np.zeros(RATE // 10)]
    for letter in text:
        t = np.arange(RATE // 5) / RATE
        pitch = HERTZ.get(letter, 0.0) * rng.uniform(0.95, 1.05)
        pieces += [0.2 * np.sin(2 * np.pi * pitch * t), np.zeros(RATE // 20)]
    samples = np.concatenate(pieces)
    return (samples + 0.001 * rng.standard_normal(len(samples))).astype("f4")


def utterances(corpus, split):
    """Speak a split into ``corpus``."""
    rng = np.random.default_rng(["train", "dev", "test"].index(split))
    corpus.mkdir(exist_ok=True)
    found = []
    for number in range(24 if split == "train" else 6):
        text = "".join(rng.choice(["a", "b"], size=rng.integers(1, 4)))
        path = corpus / f"{split}{number}.wav"
        write_wav(path, Waveform(spoken(text, rng), RATE))
        found.append(Utterance(path.stem, path, text, f"{split}-speaker{number % 2}"))
    return found


def recipe(read=utterances):
    """The toy as a recipe; OPTIONS make AN4's configuration small."""
    return Recipe("an4", "toy", read, "characters", WER)


def fit(data: Path, run: Path, *more: str) -> int:
    """Train on ``data`` in ``run``; returns the exit code."""
    return main(recipe(), ["fit", *where(data, run), *OPTIONS, *more])


def where(data: Path, run: Path) -> list[str]:
    """Options that say where the data are and where the run goes."""
    return ["--data.data_dir", str(data), "--run_dir", str(run)]


def checkpoint(data: Path, path: Path, normalisation: str = "utterance") -> tuple[Path, dict]:
    """Write a checkpoint as `fit` would, of an untrained net whose hypotheses depend on each frame.

    Returns it with what training's own validation says of the development split, by id.
    """
    torch.manual_seed(1)
    tokenizer = Tokenizer.load(tokens_path(data))
    config = FeatureConfig(num_mels=12, normalisation=normalisation)
    network = NetworkConfig(hidden_size=8, num_layers=1)
    module = SpeechModule(list(tokenizer.tokens), tokenizer.kind, [], config, network).eval()
    with torch.no_grad():
        module.model.output.weight *= 20
    loaders = SpeechDataModule(str(data))
    module.extractor.fit_statistics(
        (b.waveforms, b.lengths, b.speakers)
        for split in ("train", "dev")
        for b in loaders.plain_dataloader(split)
    )
    heard = {}
    with torch.no_grad():
        for batch in loaders.val_dataloader():
            best = module.greedy.decode(*module(batch))
            heard.update(zip(batch.ids, (h[0].text for h in best), strict=True))
    state = {"state_dict": module.state_dict(), "epoch": 0, "global_step": 1}
    module.on_save_checkpoint(state)
    torch.save(state, path)
    return path, heard
