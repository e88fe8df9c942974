"""What each change of training speech costs, beside a training step of three layers.

``python -m benchmarks.augmentation --noise FOLDER --speech FILE`` prints the table of
``docs/training.md``: microseconds of one core for a second of audio that is changed. Times are
those of the process, so that other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from asr.audio import read_audio, resample
from asr.augment import (
    AddNoise,
    AugmentConfig,
    BabbleConfig,
    Clip,
    Gain,
    JoinConfig,
    NoSpeech,
    NoSpeechConfig,
    OpusConfig,
    RecordedNoiseConfig,
    Recordings,
    RoomConfig,
    SilenceConfig,
    SpeedPerturbation,
    TelephoneConfig,
    join,
    make_changes,
)
from asr.features import FeatureConfig, FeatureExtractor
from asr.machine import describe_machine
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from benchmarks.timing import note

SAMPLE_RATE = 16_000
SECONDS = 5.0
TOKENS = 30
BATCH = 8
ALL = {"probability": 1.0}

Samples = NDArray[np.float32]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--noise", required=True, help="folder with recordings of noise")
    parser.add_argument("--speech", required=True, help="a recording of speech")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    note(describe_machine(torch.device("cpu")))
    print("| change | µs per second of audio |\n|---|---|")
    for name, run in contenders(arguments.noise, arguments.speech).items():
        print(f"| {name} | {cost(run, arguments.rounds):,.0f} |", flush=True)
    print(f"| a training step | {cost(training(), arguments.rounds) / BATCH:,.0f} |")


def contenders(noise: str, speech: str) -> dict[str, Callable[[], object]]:
    """By name, what changes :data:`SECONDS` of speech once."""
    rng = np.random.default_rng(0)
    recording = resample(read_audio(speech), SAMPLE_RATE).samples
    samples = np.resize(recording, int(SECONDS * SAMPLE_RATE))

    def voice(_: np.random.Generator) -> Samples:
        return resample(read_audio(speech), SAMPLE_RATE).samples

    config = AugmentConfig(
        silence=SilenceConfig(**ALL),
        room=RoomConfig(**ALL),
        babble=BabbleConfig(**ALL),
        noise=RecordedNoiseConfig(noise, **ALL),
        computed_noise=AddNoise(colours=("white", "pink"), **ALL),
        gain=Gain(**ALL),
        clipping=Clip(**ALL),
        telephone=TelephoneConfig(**ALL),
        opus=OpusConfig(**ALL),
    )
    silent = NoSpeech(NoSpeechConfig(**ALL), Recordings(noise, SAMPLE_RATE))
    slower = SpeedPerturbation((0.9, 1.1))
    runs: dict[str, Callable[[], object]] = {
        "speed": lambda: slower(samples, rng),
        "`no_speech`": lambda: silent(len(samples), rng),
        "`join`": lambda: join(JoinConfig(**ALL), np.split(samples, 2), SAMPLE_RATE, rng),
    }
    for name, change in make_changes(config, SAMPLE_RATE, voice).items():
        runs[f"`{name}`"] = lambda change=change: change(samples, rng)
    extractor = FeatureExtractor(FeatureConfig())
    wave, size = torch.from_numpy(samples)[None], torch.tensor([len(samples)])
    runs["features"] = lambda: extractor.frames(wave, size)
    runs["features, `vocal_tract`"] = lambda: extractor.frames(
        wave, size, warps=torch.tensor([0.93])
    )
    return runs


def training() -> Callable[[], object]:
    """A step, forwards and backwards, of three layers of 192 cells on :data:`BATCH` utterances."""
    features = FeatureConfig(energy=True, stack=3, subsample=3)
    network = NetworkConfig(hidden_size=192, num_layers=3)
    model = AcousticModel(AcousticModelConfig(features.size, TOKENS, network))
    frames = int(SECONDS / features.seconds_per_frame)
    batch, lengths = torch.randn(BATCH, frames, features.size), torch.full((BATCH,), frames)
    return lambda: model(batch, lengths).sum().backward()


def cost(run: Callable[[], object], rounds: int) -> float:
    """Microseconds of the process for a second of audio; the median of ``rounds``."""
    run()
    times = []
    for _ in range(rounds):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return 1e6 * statistics.median(times) / SECONDS


if __name__ == "__main__":
    main()
