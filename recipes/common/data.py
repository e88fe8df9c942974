"""From manifests to batches of waveforms: dataset, bucketing and pre-flight."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asr.audio import resample
from asr.augment import AddNoise, AugmentConfig, SpeedPerturbation
from asr.lanes import one_ahead
from asr.options import BATCH_SECONDS
from asr.tokens import Tokenizer
from asr.types import AsrError, ConfigError, TrainingError
from recipes.common.augmentation import Augmentation, Example
from recipes.common.batches import SEEDS, BatchLimits, BatchSampler, Drawn
from recipes.common.manifests import load_samples, read_manifest, target_text
from recipes.common.normaliser import load_text_options
from recipes.common.preflight import Preflight, preflight

__all__ = ["Batch", "SpeechDataModule", "SpeechDataset", "manifest_path", "tokens_path"]


MOST_IN_DEVELOPMENT = 256  # utterances of a batch


def manifest_path(data_dir: Path, split: str) -> Path:
    """Where ``prepare`` writes the manifest of a split."""
    return data_dir / f"{split}.jsonl.gz"


def tokens_path(data_dir: Path) -> Path:
    """Where ``prepare`` writes the token list."""
    return data_dir / "tokens.txt"


class Batch(NamedTuple):
    """Utterances padded to one length."""

    waveforms: Tensor  # (B, N) float32
    lengths: Tensor  # (B,) samples
    targets: Tensor  # (B, S) token ids
    target_lengths: Tensor  # (B,)
    ids: list[str]
    speakers: list[str | None]  # None: several
    texts: list[str]
    warps: Tensor | None = None  # (B,) factors of the mel filters' frequencies

    def to(self, device: torch.device) -> Batch:
        """The batch with its tensors on ``device``."""
        return Batch(*(v.to(device) if isinstance(v, Tensor) else v for v in self))


class SpeechDataset(Dataset[Batch | AsrError]):
    """Turns the cuts a sampler chose into a :class:`Batch`, changed if asked.

    An utterance's changes follow from the seed, the epoch and its id: they are new in each epoch,
    and the same whichever process loads it and wherever the run was interrupted. Audio that cannot
    be read gives its error in the batch's place: :class:`SpeechLoader` raises it. Without a
    ``tokenizer`` there are no targets, and any text will do.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | None,
        sample_rate: int,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.sample_rate = sample_rate
        self.augmentation = augmentation

    def __getitem__(self, drawn: Drawn) -> Batch | AsrError:
        try:
            return self._batch(drawn)
        except AsrError as error:
            return error

    def _batch(self, drawn: Drawn) -> Batch:
        examples = [self._example(cut) for cut in drawn.cuts]
        if self.augmentation is not None:
            examples = self.augmentation(examples, drawn.seed, drawn.epoch)
        samples = [torch.from_numpy(example.samples) for example in examples]
        targets = [
            torch.tensor(
                self.tokenizer.encode(example.text) if self.tokenizer else [], dtype=torch.long
            )
            for example in examples
        ]
        return Batch(
            waveforms=_pad(samples),
            lengths=torch.tensor([len(s) for s in samples]),
            targets=_pad(targets),
            target_lengths=torch.tensor([len(t) for t in targets]),
            ids=[example.id for example in examples],
            speakers=[example.speaker for example in examples],
            texts=[example.text for example in examples],
            warps=_warps(examples),
        )

    def _example(self, cut: Cut) -> Example:
        samples = resample(load_samples(cut), self.sample_rate).samples
        return Example(cut.id, cut.supervisions[0].speaker, target_text(cut), samples)


def _warps(examples: Sequence[Example]) -> Tensor | None:
    """Factors ``(B,)`` of the mel filters, where any of them is warped."""
    factors = torch.tensor([example.warp for example in examples])
    return None if bool((factors == 1.0).all()) else factors


def _pad(sequences: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True)


class _AnySpeech:
    """Samples ``(N,)`` of any of the utterances ``cuts``."""

    def __init__(self, cuts: Iterable[Cut], sample_rate: int) -> None:
        self.cuts = list(cuts)
        self.sample_rate = sample_rate

    def __call__(self, rng: np.random.Generator) -> NDArray[np.float32]:
        cut = self.cuts[int(rng.integers(len(self.cuts)))]
        return resample(load_samples(cut), self.sample_rate).samples


class SpeechLoader(DataLoader):
    """Batches of a :class:`SpeechDataset`, whose errors are raised here, in one line.

    Without workers a thread reads one batch ahead.

    torch would wrap what a worker raises in its own words and the worker's traceback. It would also
    warn of more workers than processors, which wait for disks more than they compute.
    """

    def check_worker_number_rationality(self) -> None:
        """Take as many as were asked for."""

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches.

        Raises:
            AsrError: audio that cannot be read.
            TrainingError: a worker has died.
        """
        try:
            batches = super().__iter__()
            for batch in batches if self.num_workers else one_ahead(batches):
                if isinstance(batch, AsrError):
                    raise batch
                yield batch
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise TrainingError(
                "a process that reads audio has died, perhaps for want of memory",
                remedy="use fewer --data.num_workers, or smaller batches",
            ) from None


class SpeechDataModule(pl.LightningDataModule):
    """Manifests of a prepared corpus as bucketed batches.

    Args:
        data_dir: the folder that ``prepare`` wrote.
        batch_size: most utterances in a training batch.
        batch_seconds: most seconds of audio in a batch, padding counted.
        num_buckets: groups of similar duration from which each batch is drawn.
        speed_factors: each training utterance is played at one of these speeds, by chance.
        noise: the same as ``augment.computed_noise``.
        augment: changes of the training utterances, each in its share of them.
        num_workers: processes that read audio beside the training; with 0 a thread of it does.
        sample_rate: rate of the features, in hertz.
        seed: order of the batches.
    """

    def __init__(
        self,
        data_dir: str,
        batch_size: int = 16,
        batch_seconds: float = 120.0,
        num_buckets: int = 8,
        speed_factors: tuple[float, ...] = (1.0,),
        noise: AddNoise | None = None,
        augment: AugmentConfig | None = None,
        num_workers: int = 0,
        sample_rate: int = 16_000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if num_workers < 0:
            raise ConfigError(f"num_workers is {num_workers}", remedy="give 0 or more")
        if sample_rate < 1:
            raise ConfigError(f"sample_rate is {sample_rate}", remedy="give a rate in hertz")
        self.data_dir = Path(data_dir)
        self.limits = BatchLimits(batch_size, batch_seconds, num_buckets)
        self.num_workers = num_workers
        self.sample_rate = sample_rate
        self.seed = seed
        self.tokenizer = Tokenizer.load(tokens_path(self.data_dir))
        self.text = load_text_options(self.data_dir)
        augment = _with_noise(augment or AugmentConfig(), noise)
        if augment.join is not None:
            _require_space(self.tokenizer)
        voices = _AnySpeech(self.manifest("train") if augment.babble else (), sample_rate)
        speed = SpeedPerturbation(speed_factors) if set(speed_factors) != {1.0} else None
        self.augmentation = Augmentation(augment, speed, sample_rate, batch_seconds, voices)
        self.usable: dict[str, frozenset[str]] = {}
        self.plan = self.plan_before = ""  # digests of the training batches
        self.begins_anew = False

    def state_dict(self) -> dict[str, Any]:
        """What tells whether a resumed run has the same batches."""
        return {"plan": self.plan}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember it."""
        self.plan_before = state_dict["plan"]

    def manifest(self, split: str) -> CutSet:
        """Return the cuts of a split, checked."""
        return read_manifest(manifest_path(self.data_dir, split))

    def preflight(self, split: str, num_frames: Callable[[int], int]) -> Preflight:
        """Find the utterances CTC can align, and keep to them from now on.

        ``num_frames`` maps samples at the features' rate to frames; the least that augmentation
        leaves of them is counted.
        """
        report = preflight(self._item(cut, split, num_frames) for cut in self.manifest(split))
        self.usable[split] = frozenset(report.usable)
        return report

    def _item(
        self, cut: Cut, split: str, num_frames: Callable[[int], int]
    ) -> tuple[str, int, list[int] | None, list[str]]:
        text = target_text(cut)
        unknown = self.tokenizer.unknown(text)
        labels = None if unknown else self.tokenizer.encode(text)
        if split == "train":
            frames = self.augmentation.fewest_frames(cut.duration, num_frames)
        else:
            frames = num_frames(int(cut.duration * self.sample_rate))
        return cut.id, frames, labels, unknown

    def train_dataloader(self) -> SpeechLoader:
        """Shuffled, bucketed batches with augmentation of the waveform.

        In a resumed run they begin where the run stopped; where the batches are others than those
        of before, which cannot go on, its epoch begins anew, as ``begins_anew`` then says.
        """
        sampler = self._sampler("train", shuffle=True)
        self.plan = sampler.digest
        if self.trainer is not None:
            epoch, done = _position(self.trainer)
            is_same = self.plan_before in ("", self.plan)  # earlier versions do not say
            self.begins_anew = done > 0 and not (is_same and done < len(sampler))
            sampler.start_at(epoch, 0 if self.begins_anew else done)
        return self._loader(
            sampler, SpeechDataset(self.tokenizer, self.sample_rate, self.augmentation)
        )

    def val_dataloader(self) -> SpeechLoader:
        """The development split in batches of similar length, once each.

        They are as large as ``batch_seconds`` allows, whatever ``batch_size`` says.
        """
        return self._loader(
            self._sampler("dev", shuffle=False), SpeechDataset(self.tokenizer, self.sample_rate)
        )

    def plain_dataloader(self, split: str, hours: float = math.inf) -> SpeechLoader:
        """A split without augmentation, in every process, for statistics of the features.

        All of its recordings count, also those that CTC cannot align, as they do in evaluation. Of
        a larger split than ``hours`` it gives utterances drawn by chance, about that much.
        """
        return self._loader(
            BatchSampler(self._sample(split, hours), self.limits),
            SpeechDataset(None, self.sample_rate),
        )

    def _sample(self, split: str, hours: float) -> list[Cut]:
        cuts = list(self.manifest(split))
        if sum(cut.duration for cut in cuts) <= 3600 * hours:
            return cuts
        elapsed, drawn = 0.0, []
        for number in np.random.default_rng(self.seed % SEEDS).permutation(len(cuts)):
            drawn.append(cuts[number])
            elapsed += cuts[number].duration
            if elapsed >= 3600 * hours:
                break
        return drawn

    def largest_batch(self, split: str) -> Batch:
        """The longest utterances of ``split``, as many as come together, and as long as may be.

        Raises:
            AsrError: they cannot be read.
        """
        cuts, seconds = self._sampler(split, shuffle=False).largest()
        batch = SpeechDataset(self.tokenizer, self.sample_rate)[Drawn(cuts, self.seed, 0)]
        if isinstance(batch, AsrError):
            raise batch
        samples = max(batch.waveforms.shape[1], math.ceil(seconds * self.sample_rate))
        waveforms = torch.nn.functional.pad(
            batch.waveforms, (0, samples - batch.waveforms.shape[1])
        )
        return batch._replace(waveforms=waveforms, lengths=torch.full_like(batch.lengths, samples))

    def _limits(self, split: str) -> BatchLimits:
        """Batches of development go forwards alone and are large; on a CPU, as large as is fast."""
        if split == "train":
            return self.limits
        seconds = self.limits.batch_seconds
        if self.trainer is None or self.trainer.strategy.root_device.type == "cpu":
            seconds = min(seconds, BATCH_SECONDS)
        return replace(self.limits, batch_size=MOST_IN_DEVELOPMENT, batch_seconds=seconds)

    def _sampler(self, split: str, *, shuffle: bool) -> BatchSampler:
        """This process's share of a split."""
        changed = split == "train"
        return BatchSampler(
            self._cuts(split),
            self._limits(split),
            stretch=self.augmentation.stretch if changed else 1.0,
            added=self.augmentation.config.max_added_seconds if changed else 0.0,
            shuffle=shuffle,
            seed=self.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
        )

    def _cuts(self, split: str) -> list[Cut]:
        usable = self.usable.get(split)
        return [cut for cut in self.manifest(split) if usable is None or cut.id in usable]

    def _loader(self, sampler: BatchSampler, dataset: SpeechDataset) -> SpeechLoader:
        return SpeechLoader(dataset, sampler=sampler, batch_size=None, num_workers=self.num_workers)


def _with_noise(augment: AugmentConfig, noise: AddNoise | None) -> AugmentConfig:
    """``augment`` with the noise of the option that stands beside it."""
    if noise is None:
        return augment
    if augment.computed_noise is not None:
        raise ConfigError(
            "data.noise and data.augment.computed_noise are the same", remedy="give one of them"
        )
    return replace(augment, computed_noise=noise)


def _require_space(tokenizer: Tokenizer) -> None:
    if tokenizer.kind == "characters" and tokenizer.word_separator is None:
        raise ConfigError(
            "join: the token list has no space to put between texts",
            remedy="leave out data.augment.join, or prepare texts of several words",
        )


def _position(trainer: pl.Trainer) -> tuple[int, int]:
    """Epoch and batch at which ``trainer`` goes on, as its loops were restored.

    The loader's iterator is made, and workers ask it for batches, before Lightning tells the
    sampler its epoch.
    """
    epochs = trainer.fit_loop.epoch_progress.current
    within = epochs.started > epochs.processed
    done = trainer.fit_loop.epoch_loop.batch_progress.current.processed if within else 0
    return epochs.processed, done
