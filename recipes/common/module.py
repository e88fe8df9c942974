"""The training module: features, augmentation, model, CTC, optimiser and development scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, astuple
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from asr.augment import SpecAugment, SpecAugmentConfig
from asr.decoding import GreedyOptions, Priors, make_decoder
from asr.features import FeatureConfig, FeatureExtractor
from asr.nn.ctc import CTCLoss, consistency_loss
from asr.nn.model import PEER, AcousticModel, AcousticModelConfig, NetworkConfig
from asr.scoring import ErrorCounts, token_errors
from asr.tokens import Tokenizer
from asr.types import ConfigError
from recipes.common.data import Batch
from recipes.common.means import Means
from recipes.common.metric import WER, Metric
from recipes.common.normaliser import TextOptions
from recipes.common.objective import DualMode, ObjectiveOptions
from recipes.common.optimizer import parameter_groups, regroup
from recipes.common.plateau import AllBlankDetector
from recipes.common.priors import LOG_PRIORS, PriorSums, priors_of
from recipes.common.schedule import ScheduleOptions

__all__ = ["CHECKPOINT_KEY", "SpeechModule"]

CHECKPOINT_KEY = "peephole_asr"
MEANS_KEY = "epoch_means"


class SpeechModule(pl.LightningModule):
    """A bidirectional peephole LSTM trained with CTC.

    Args:
        tokens: the token list, set from the data folder.
        token_kind: ``"characters"``, ``"phones"`` or ``"subwords"``, set from the data folder.
        token_scores: of subwords, their log-probabilities, set from the data folder.
        features: the front end.
        network: the recurrent stack, and the noise it is trained with.
        spec_augment: masks on the features.
        objective: what is minimised beside the CTC loss.
        dual_mode: read a part of the batches by chunks, for a model that streams as well.
        learning_rate: peak of the schedule.
        weight_decay: of AdamW, on matrices; biases and peepholes have none.
        schedule: how the learning rate goes.
    """

    def __init__(
        self,
        tokens: list[str],
        token_kind: str,
        token_scores: list[float],
        features: FeatureConfig,
        network: NetworkConfig,
        spec_augment: SpecAugmentConfig | None = None,
        objective: ObjectiveOptions = ObjectiveOptions(),  # noqa: B008 -- frozen
        dual_mode: DualMode | None = None,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        schedule: ScheduleOptions = ScheduleOptions(),  # noqa: B008 -- frozen
    ) -> None:
        super().__init__()
        _check_optimiser(learning_rate, weight_decay)
        self.tokenizer = Tokenizer(tokens, token_kind, token_scores)
        self.extractor = FeatureExtractor(features)
        self.augment = SpecAugment(spec_augment) if spec_augment else None
        self.model = AcousticModel(AcousticModelConfig(features.size, self.tokenizer.size, network))
        self.loss = CTCLoss(objective.normalisation)
        self.objective = objective
        self.dual_mode = dual_mode
        if objective.consistency and self.augment is None:
            raise ConfigError("consistency needs masks", remedy="give spec_augment as well")
        self.model.check_lower(objective.intermediate)
        if dual_mode is not None and network.cell == PEER:
            raise ConfigError(
                f"{PEER} cannot be run by chunks",
                remedy="leave out dual_mode, or take a cell of ours",
            )
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.total_steps = 0  # of the whole training, where it is known
        self.means = Means()
        self.annealed = 1.0  # what newbob has made of the learning rate
        self.metric: Metric = WER
        self.text = TextOptions()  # the form of the texts, set from the data folder
        self.seconds_per_frame = features.seconds_per_frame * network.reduction
        self.greedy = make_decoder(GreedyOptions(), self.tokenizer, self.seconds_per_frame)
        self.all_blank = AllBlankDetector()
        self.priors: Priors | None = None  # of the last development pass
        self._prior_sums = PriorSums(self.tokenizer.size)
        self._errors = ErrorCounts()
        self._token_errors = ErrorCounts()

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return log-probabilities ``(B, T, V)`` and their lengths ``(B,)``."""
        features, lengths = self._features(batch, views=1)
        return self.model(features, lengths), self.model.num_frames(lengths)

    @torch.no_grad()
    def _features(
        self, batch: Batch, views: int, *, running: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Features ``(views * B, T, F)`` and their lengths, each view under masks of its own."""
        frames, lengths = self.extractor.frames(
            batch.waveforms, batch.lengths, batch.speakers, running=running, warps=batch.warps
        )
        frames, lengths = frames.repeat(views, 1, 1), lengths.repeat(views)
        if self.augment is not None and self.training:
            frames = self.augment(frames, lengths)
        return self.extractor.stack(frames, lengths)

    def num_frames(self, samples: int) -> int:
        """Frames of log-probabilities for so many samples at the features' rate."""
        frames = self.extractor.num_frames(samples)
        return int(self.model.num_frames(torch.tensor(frames)))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch, as large as its gradient is to be in this process."""
        loss, disagreement = self.training_loss(batch)
        if disagreement is not None:
            self._log_loss("train/disagreement", disagreement, batch)
        self._log_loss("train/loss", loss, batch, prog_bar=True)
        return loss * self._share(batch)

    def training_loss(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """CTC loss of one batch with what regularises it, and the views' disagreement alone."""
        options = self.objective
        chunking = self.dual_mode.draw(self.seconds_per_frame) if self.dual_mode else None
        features, lengths = self._features(batch, options.views, running=chunking is not None)
        *lower, last = self.model.with_intermediate(
            features, lengths, options.intermediate if chunking is None else (), chunking
        )
        loss = self._loss(batch, *last)
        if lower:
            share = options.intermediate_weight
            below = torch.stack([self._loss(batch, *outputs) for outputs in lower]).mean()
            loss = (1 - share) * loss + share * below
        if not options.consistency:
            return loss, None
        disagreement = consistency_loss(
            *last, batch.target_lengths.repeat(options.views), options.normalisation
        )
        return loss + options.consistency * disagreement, disagreement

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and greedy errors of one batch."""
        log_probs, lengths = self(batch)
        loss = self._loss(batch, log_probs, lengths)
        self._log_loss("dev/loss", loss, batch)
        self.all_blank.update(log_probs, lengths)
        self._prior_sums.update(log_probs, lengths)
        for text, hypotheses in zip(
            batch.texts, self.greedy.decode(log_probs, lengths), strict=True
        ):
            self._errors += self.metric.count(text, hypotheses[0].text)
            self._token_errors += token_errors(
                self.tokenizer.encode(text), self.tokenizer.encode(hypotheses[0].text)
            )

    def on_validation_epoch_end(self) -> None:
        """Log the error rates over all processes and speak up about a model of blanks."""
        self.log("dev/error_rate", self._errors_of_all(self._errors).rate, prog_bar=True)
        self.log("dev/token_error_rate", self._errors_of_all(self._token_errors).rate)
        self._errors = ErrorCounts()
        self._token_errors = ErrorCounts()
        self.priors = self._prior_sums.finish_pass(self.over_processes)
        warning = self.all_blank.finish_pass(self.over_processes)
        if warning and not self.trainer.sanity_checking:
            self.print(f"warning: {warning}")
            self.all_blank.passes = 0

    def _log_loss(self, name: str, loss: Tensor, batch: Batch, **how: bool) -> None:
        """Log a loss so that its mean over utterances does not depend on the batches."""
        count = len(batch.ids)
        mean = loss.detach() / count if self.loss.normalisation == "sum" else loss.detach()
        several = self.trainer.world_size > 1
        self.log(name, mean, batch_size=count, sync_dist=several, **how)
        if self.trainer.training:
            self.means.add(name, float(mean), count)

    def _share(self, batch: Batch) -> float:
        """What this process's loss is multiplied by, since gradients are averaged over processes.

        The average is then the gradient of one process with all their batches in one.
        """
        processes = self.trainer.world_size
        if processes == 1 or self.loss.normalisation == "sum":
            return float(processes)
        return processes * len(batch.ids) / self.over_processes([len(batch.ids)])[0]

    def _errors_of_all(self, errors: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(*map(int, self.over_processes(list(astuple(errors)))))

    def over_processes(self, numbers: Sequence[float]) -> list[float]:
        """Numbers summed over the processes of a distributed run."""
        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        return self.trainer.strategy.reduce(total, reduce_op="sum").tolist()

    def _loss(self, batch: Batch, log_probs: Tensor, lengths: Tensor) -> Tensor:
        """CTC loss of a batch: the mean over views, of which ``log_probs`` may hold several."""
        views = len(log_probs) // len(batch.ids)
        loss: Tensor = self.loss(
            log_probs,
            lengths,
            batch.targets.repeat(views, 1),
            batch.target_lengths.repeat(views),
            batch.ids * views,
        )
        return loss / views if self.loss.normalisation == "sum" else loss

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with the schedule."""
        return self.with_schedule(
            torch.optim.AdamW(
                parameter_groups(self.model, self.weight_decay),
                lr=self.learning_rate,
                weight_decay=0.0,
            )
        )

    def with_schedule(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """``optimizer``, whose learning rate is the peak of the schedule."""
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: self.annealed * self.schedule.factor(step, self._progress(step)),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _progress(self, step: int) -> float:
        """How much of the training is over: of its epochs, or of its steps if those end first."""
        if self.schedule.by == "steps":
            return min(1.0, step / max(1, self.total_steps))
        ends = (
            (self.trainer.current_epoch, self.trainer.max_epochs),
            (step, self.trainer.max_steps),
        )
        return max((min(1.0, done / end) for done, end in ends if end and end > 0), default=0.0)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add plain values from which a bundle can be made without this run's data folder."""
        checkpoint[CHECKPOINT_KEY] = {
            "features": self.extractor.config.to_dict(),
            "model": self.model.config.to_dict(),
            "tokens": list(self.tokenizer.tokens),
            "token_kind": self.tokenizer.kind,
            "token_scores": list(self.tokenizer.scores),
            "text": self.text.to_dict(),
            "dual_mode": None if self.dual_mode is None else asdict(self.dual_mode),
            LOG_PRIORS: None if self.priors is None else list(self.priors.log_priors),
        }
        checkpoint[MEANS_KEY] = self.means.over(self.over_processes)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with means of an epoch and priors, and with a run that an earlier version began."""
        self.priors = priors_of(checkpoint[CHECKPOINT_KEY])
        if self.trainer.is_global_zero:  # it speaks for all
            self.means.sums = dict(checkpoint.get(MEANS_KEY, {}))
        for state in checkpoint.get("optimizer_states", []):
            if len(state["param_groups"]) == 2:  # not an --optimizer of the user's
                regroup(state, self.model)


def _check_optimiser(learning_rate: float, weight_decay: float) -> None:
    if not 0.0 < learning_rate < math.inf:
        raise ConfigError(f"learning_rate is {learning_rate}", remedy="give a number above 0")
    if not 0.0 <= weight_decay < math.inf:
        raise ConfigError(f"weight_decay is {weight_decay}", remedy="give 0 or more")
