"""Two networks of one size: one learns each frame's class, the other the labels' order alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from asr.nn.ctc import CTCLoss
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from recipes.lineage.ctc_speech import NO_LABEL, Corpus, Spoken

__all__ = ["Plan", "learn", "log_probs"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """Sizes of a run.

    Attributes:
        cells: H, in each direction of the one layer.
        epochs: of the network that learns by CTC.
        framewise_epochs: of the other, which learns faster and soon overfits.
        noise: standard deviation of what is added to the features in training.
        clip: greatest norm of the gradient.
    """

    exact_cases: int = 200
    seeds: int = 3
    train: int = 80
    held_out: int = 24
    cells: int = 100
    epochs: int = 80
    framewise_epochs: int = 30
    batch_size: int = 4
    learning_rate: float = 3e-3
    noise: float = 0.6
    clip: float = 1.0
    beam_width: int = 32


def learn(
    corpus: Corpus, plan: Plan, seed: int, *, ctc: bool, look: Callable[[AcousticModel], None]
) -> AcousticModel:
    """Train one network; ``look`` sees it before the first epoch and after each."""
    torch.manual_seed(seed)
    net = AcousticModel(
        AcousticModelConfig(
            input_size=corpus.train[0].features.shape[1],
            vocab_size=len(corpus.tokens),
            network=NetworkConfig(plan.cells, num_layers=1, input_noise=plan.noise),
        )
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=plan.learning_rate)
    order = torch.Generator().manual_seed(seed)
    objective = _ctc if ctc else _framewise
    look(net)
    for _ in range(plan.epochs if ctc else plan.framewise_epochs):
        net.train()
        for batch in _batches(corpus.train, plan.batch_size, order):
            loss = objective(net, batch)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), plan.clip)
            optimizer.step()
        look(net)
    return net


def _batches(utterances: list[Spoken], size: int, order: torch.Generator) -> Iterator[list[Spoken]]:
    """Utterances of like length together, the batches in a new order each time."""
    by_length = sorted(utterances, key=lambda utterance: len(utterance.features))
    batches = [by_length[k : k + size] for k in range(0, len(by_length), size)]
    for b in torch.randperm(len(batches), generator=order).tolist():
        yield batches[b]


def _padded(batch: list[Spoken]) -> tuple[Tensor, Tensor]:
    features = [utterance.features for utterance in batch]
    return pad_sequence(features, batch_first=True), torch.tensor([len(f) for f in features])


def _framewise(net: AcousticModel, batch: list[Spoken]) -> Tensor:
    """Cross entropy with each frame's class."""
    frames = [utterance.frames for utterance in batch]
    targets = pad_sequence(frames, batch_first=True, padding_value=NO_LABEL)
    log_probs = net(*_padded(batch))
    return F.nll_loss(log_probs.flatten(0, 1), targets.flatten(), ignore_index=NO_LABEL)


def _ctc(net: AcousticModel, batch: list[Spoken]) -> Tensor:
    labels = [utterance.labels for utterance in batch]
    features, lengths = _padded(batch)
    sizes = torch.tensor([len(each) for each in labels])
    targets = pad_sequence(labels, batch_first=True)
    loss: Tensor = CTCLoss()(net(features, lengths), lengths, targets, sizes)
    return loss


@torch.no_grad()
def log_probs(net: AcousticModel, utterance: Spoken) -> Floats:
    """ln y ``(T, V)`` of one utterance, without noise, normalised in float64."""
    net.eval()
    features, lengths = _padded([utterance])
    return net(features, lengths)[0].double().log_softmax(-1).numpy()
