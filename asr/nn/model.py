"""The acoustic model: features in, log-probabilities of tokens out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from asr.nn.cells import CELLS
from asr.nn.chunks import ChunkedStack, Chunking, States, alone, by_stream, run_chunks
from asr.nn.front import ConvolutionalFront, FrontOptions, cut_frames, reduced
from asr.nn.kernels import AUTO, check_kernel
from asr.nn.layer import RecurrentLayer
from asr.nn.pyramid import Pyramid
from asr.nn.recurrent import RecurrentStack, State
from asr.nn.torch_lstm import TorchLSTMStack
from asr.options import from_values, is_integer, is_number
from asr.types import ConfigError, ModelError

__all__ = ["PEER", "AcousticModel", "AcousticModelConfig", "NetworkConfig"]

PEER = "torch-lstm"  # `torch.nn.LSTM` in the place of a cell of ours
SIZES = ("input_size", "vocab_size")
MOST, MOST_LAYERS = 2**24, 1000  # of a size, and of layers
MOST_NOISE = 1000.0  # deviations


@dataclass(frozen=True)
class NetworkConfig:
    """What can be chosen of a network, and the noise it is trained with.

    Attributes:
        hidden_size: cells per direction.
        num_layers: recurrent layers.
        cell: ``"rnn"``, ``"lstm-1997"``, ``"lstm"``, ``"peephole"`` or ``"coupled"`` (see
            :mod:`asr.nn.cells`); or ``"torch-lstm"`` for ``torch.nn.LSTM`` of the same size.
        bidirectional: read each utterance in both directions.
        dropout: probability, between layers and before the output.
        input_noise: deviation of Gaussian noise on normalised features, in training (Graves et al.
            2006, section 5.1: 0.6).
        weight_noise: deviation of Gaussian noise on recurrent weights, drawn once a batch (Graves
            et al. 2013, section 3: 0.075).
        kernel: the recurrence's kernel, ``"auto"`` for the fastest.
        proj_size: size of a projection of each layer's output, 0 for none.
        recompute: run each layer again in the backward pass instead of keeping its states.
        front: convolutions before the recurrent layers; None for none.
        reductions: frames that are joined to one behind each layer but the last; none if empty.
    """

    hidden_size: int = 192
    num_layers: int = 3
    cell: str = "peephole"
    bidirectional: bool = True
    dropout: float = 0.0
    input_noise: float = 0.0
    weight_noise: float = 0.0
    kernel: str = AUTO
    proj_size: int = 0
    recompute: bool = False
    front: FrontOptions | None = None
    reductions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.reductions, list | tuple):
            raise ConfigError(
                f"reductions are {str(self.reductions)[:100]}", remedy="give a list of integers"
            )
        object.__setattr__(self, "reductions", tuple(self.reductions))  # YAML and JSON have lists
        _check_integer("hidden_size", self.hidden_size, 1)
        _check_integer("num_layers", self.num_layers, 1, MOST_LAYERS)
        if self.cell not in (*CELLS, PEER):
            raise ConfigError(
                f"unknown cell {self.cell!r}", remedy=f"choose one of {', '.join((*CELLS, PEER))}"
            )
        for name in ("bidirectional", "recompute"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(
                    f"{name} is {str(getattr(self, name))[:100]}", remedy="give true or false"
                )
        if not is_number(self.dropout) or not 0.0 <= self.dropout < 1.0:
            raise ConfigError(
                f"dropout is {str(self.dropout)[:100]}", remedy="give a number in [0, 1)"
            )
        for name in ("input_noise", "weight_noise"):
            value = getattr(self, name)
            if not is_number(value) or not 0.0 <= value <= MOST_NOISE:  # false for NaN too
                raise ConfigError(
                    f"{name} is {str(value)[:100]}",
                    remedy=f"give a number from 0 to {MOST_NOISE:g}",
                )
        if not is_integer(self.proj_size) or not 0 <= self.proj_size < self.hidden_size:
            raise ConfigError(
                f"proj_size is {str(self.proj_size)[:100]}",
                remedy="give 0 for no projection, or an integer below hidden_size",
            )
        if self.cell == PEER and (self.proj_size or self.recompute):
            raise ConfigError(
                f"{PEER} has neither projection nor recomputation", remedy="choose another cell"
            )
        if self.reductions and len(self.reductions) != self.num_layers - 1:
            raise ConfigError(
                f"there are {len(self.reductions)} reductions and {self.num_layers} layers",
                remedy="give one for each layer but the last, 1 for none, or none at all",
            )
        for factor in self.reductions:
            _check_integer("a reduction", factor, 1)
        if not isinstance(self.front, FrontOptions | None):
            raise ConfigError(
                f"the front is {str(self.front)[:100]}", remedy="give FrontOptions, or None"
            )
        check_kernel(self.kernel)

    @property
    def reduction(self) -> int:
        """Frames of features that become one frame of log-probabilities."""
        return math.prod((*self.reductions, self.front.reduction if self.front else 1))

    @property
    def output_size(self) -> int:
        """Size of the recurrent stack's output."""
        return (self.proj_size or self.hidden_size) * (2 if self.bidirectional else 1)


def _check_integer(name: str, value: Any, least: int, most: int = MOST) -> None:
    if not is_integer(value) or not least <= value <= most:
        raise ConfigError(
            f"{name} is {str(value)[:100]}", remedy=f"give an integer from {least} to {most}"
        )


@dataclass(frozen=True)
class AcousticModelConfig:
    """A network and the sizes that front end and vocabulary give it."""

    input_size: int
    vocab_size: int
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def __post_init__(self) -> None:
        _check_integer("input_size", self.input_size, 1)
        _check_integer("vocab_size", self.vocab_size, 2)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: the sizes and the network's options side by side."""
        return {**{name: getattr(self, name) for name in SIZES}, **asdict(self.network)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AcousticModelConfig:
        """Inverse of :meth:`to_dict`; options that an earlier version lacked have their default.

        Raises:
            ConfigError: a key is unknown or missing, or a value is out of range.
        """
        sizes = {name: value for name, value in values.items() if name in SIZES}
        options = {name: value for name, value in values.items() if name not in SIZES}
        if options.get("front") is not None:
            options["front"] = from_values(FrontOptions, options["front"], "front", ConfigError)
        network = from_values(NetworkConfig, options, "network", ConfigError)
        return from_values(cls, {**sizes, "network": network}, "model", ConfigError)


class _Chunked(nn.Module):
    """A recurrent stack run by chunks, as a module whose weights can be replaced for a call."""

    def __init__(self, stack: nn.Module, network: NetworkConfig, chunking: Chunking) -> None:
        super().__init__()
        if network.cell == PEER:
            raise ConfigError(f"{PEER} cannot be run by chunks", remedy="choose another cell")
        self.stack = stack
        self.chunking = chunking
        self.reduction = math.prod(network.reductions)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Map ``(B, T, F)`` to the last layer's output ``(B, T', D * R)``."""
        stack = cast(ChunkedStack, self.stack)
        return run_chunks(stack, features, lengths, self.chunking, self.reduction)


def _recurrent(config: AcousticModelConfig) -> nn.Module:
    network, size = config.network, config.input_size
    if network.front is not None:
        size = network.front.output_size(size)
    if max(network.reductions, default=1) > 1:
        return Pyramid(
            lambda inputs, layers: _stack(network, inputs, layers),
            size,
            network.output_size,
            network.reductions,
            network.dropout,
        )
    return _stack(network, size, network.num_layers)


def _stack(network: NetworkConfig, input_size: int, num_layers: int) -> nn.Module:
    sizes = input_size, network.hidden_size, num_layers
    if network.cell == PEER:
        return TorchLSTMStack(*sizes, dropout=network.dropout, bidirectional=network.bidirectional)
    return RecurrentStack(
        *sizes,
        batch_first=True,
        dropout=network.dropout,
        bidirectional=network.bidirectional,
        proj_size=network.proj_size,
        cell=network.cell,
        kernel=network.kernel,
        recompute=network.recompute,
    )


class AcousticModel(nn.Module):
    """A recurrent stack and a softmax over tokens (Graves et al. 2006, section 3).

    With a front or with reductions the stack gives fewer frames than it is given, as
    :meth:`num_frames` says.

    The sizes of the papers come out to the weight: 1x100 cells a direction on 26 features and 62
    outputs has 114,662; 3x250 on 123 features and 62 outputs has 3,787,562.
    """

    def __init__(self, config: AcousticModelConfig) -> None:
        super().__init__()
        self.config = config
        front = config.network.front
        self.front = None if front is None else ConvolutionalFront(config.input_size, front)
        self.recurrent = _recurrent(config)
        self.dropout = nn.Dropout(config.network.dropout)
        self.output = nn.Linear(config.network.output_size, config.vocab_size)

    def forward(
        self, features: Tensor, lengths: Tensor, chunking: Chunking | None = None
    ) -> Tensor:
        """Map ``features (B, T, F)`` with ``lengths (B,)`` to log-probabilities ``(B, T', V)``.

        T' is T, or as :meth:`num_frames` says. The result is float32 and natural-log normalised
        over V; frames beyond a length hold no meaning and are the same for every padding. With
        ``chunking`` the recurrent layers read no further ahead than it says.

        Raises:
            ModelError: the shapes do not fit the model.
            ConfigError: torch's own LSTM cannot be run by chunks.
        """
        self._check(features, lengths)
        network = self.config.network
        if self.training and network.input_noise > 0:
            features = features + network.input_noise * torch.randn_like(features)
        weights = {}
        if self.training and network.weight_noise > 0:
            weights = self._noisy_weights()
        if self.front is not None:
            features, lengths = self.front(features, lengths)  # (B, T / front.reduction, F')
        if chunking is None:
            hidden, _ = functional_call(self.recurrent, weights, features, {"lengths": lengths})
        else:
            hidden = functional_call(
                _Chunked(self.recurrent, network, chunking),
                {f"stack.{name}": weight for name, weight in weights.items()},
                (features, lengths),
            )
        return self._log_probs(hidden)

    def _log_probs(self, hidden: Tensor) -> Tensor:
        logits = self.output(self.dropout(hidden))  # (B, T', V)
        log_probs: Tensor = logits.float().log_softmax(dim=-1)
        return log_probs

    def with_intermediate(
        self,
        features: Tensor,
        lengths: Tensor,
        layers: Sequence[int],
        chunking: Chunking | None = None,
    ) -> list[tuple[Tensor, Tensor]]:
        """Log-probabilities behind ``layers``, counted from 1, then those of :meth:`forward`.

        The output layer reads a lower layer's output as it reads the last one's (Lee & Watanabe,
        "Intermediate loss regularization for CTC-based speech recognition", 2021).

        Returns:
            for each ``log_probs (B, T', V)`` and its lengths ``(B,)``.

        Raises:
            ConfigError: there is no such layer below the last, the cell is torch's own, or lower
                layers are asked for with ``chunking``.
        """
        if layers and chunking is not None:
            raise ConfigError("lower layers have no output by chunks", remedy="ask for none")
        self.check_lower(layers)
        recurrent = self._recurrent_layers()
        found: dict[int, tuple[Tensor, Tensor]] = {}

        def keep(number: int, inputs: tuple[Tensor, ...], output: tuple[Tensor, State]) -> None:
            found.setdefault(number, (output[0].transpose(0, 1), inputs[1]))  # (B, T', D * R)

        hooks = [
            recurrent[n - 1].register_forward_hook(lambda _, i, o, n=n: keep(n, i, o))
            for n in layers
        ]
        try:
            last = self(features, lengths, chunking), self.num_frames(lengths)
        finally:
            for hook in hooks:
                hook.remove()
        return [*((self._log_probs(found[n][0]), found[n][1]) for n in layers), last]

    def check_lower(self, layers: Sequence[int]) -> None:
        """Refuse layers, counted from 1, behind which no output can be had beside the last one's.

        Raises:
            ConfigError: there is no such layer below the last, or the cell is torch's own.
        """
        count = len(self._recurrent_layers())
        for layer in layers:
            if not 1 <= layer < count:
                raise ConfigError(
                    f"no output can be had behind layer {layer}",
                    remedy=f"give layers from 1 to {count - 1}"
                    if count > 1
                    else "give none, or two layers at least of a cell of ours",
                )

    def _recurrent_layers(self) -> list[RecurrentLayer]:
        """Our own, the lowest first; none where the cell is torch's."""
        return [m for m in self.recurrent.modules() if isinstance(m, RecurrentLayer)]

    def num_frames(self, lengths: Tensor) -> Tensor:
        """Frames of log-probabilities for ``lengths (B,)`` frames of features: rounded up."""
        return reduced(lengths, self.config.network.reduction)

    def chunk(
        self, features: Tensor, lengths: Tensor, window: Tensor, frames: int, states: States
    ) -> tuple[Tensor, States]:
        """Log-probabilities of the next ``frames`` frames of streams, ``(B, frames, V)``.

        Args:
            features: of each stream's chunk and its look-ahead ``(B, T, F)``, and of what the
                front's filters read around them.
            lengths: frames of them that each stream has ``(B,)``.
            window: where chunk and look-ahead begin and end behind the front ``(B, 2)``; not read
                without a front.
            frames: of log-probabilities; fewer come out where no stream has so many.
            states: each layer's forward state, as :meth:`initial_states` gives it at first.
        """
        if self.front is not None:
            streams = zip(torch.split(features, 1), torch.split(lengths, 1), strict=True)
            each = [self.front(alone(one), length) for one, length in streams]
            features, lengths = (torch.cat(part) for part in zip(*each, strict=True))
            features, lengths = cut_frames(features, lengths, window)
        reduction = math.prod(self.config.network.reductions)
        stack = cast(ChunkedStack, self.recurrent)
        hidden, states = stack.chunk(features, lengths, frames * reduction, states)
        return by_stream(self._log_probs, hidden)[:, :frames], states

    def initial_states(self, streams: int) -> list[tuple[Tensor, Tensor]]:
        """Forward states of all recurrent layers at the beginning of so many streams.

        Raises:
            ConfigError: torch's own LSTM cannot be run by chunks.
        """
        if self.config.network.cell == PEER:
            raise ConfigError(f"{PEER} cannot be run by chunks", remedy="choose another cell")
        layers = [m for m in self.recurrent.modules() if isinstance(m, RecurrentLayer)]
        return [
            (
                layer.bias.new_zeros(1, streams, layer.weight_hh.shape[2]),
                layer.bias.new_zeros(1, streams, layer.hidden_size),
            )
            for layer in layers
        ]

    def _noisy_weights(self) -> dict[str, Tensor]:
        """Recurrent weights plus fresh noise; the gradient goes to the weights themselves."""
        deviation = self.config.network.weight_noise
        return {
            name: weight + deviation * torch.randn_like(weight)
            for name, weight in self.recurrent.named_parameters()
        }

    def _check(self, features: Tensor, lengths: Tensor) -> None:
        if features.dim() != 3 or features.shape[2] != self.config.input_size:
            raise ModelError(
                f"features have shape {tuple(features.shape)}",
                remedy=f"give (B, T, {self.config.input_size})",
            )
        if lengths.shape != features.shape[:1]:
            raise ModelError(
                f"lengths have shape {tuple(lengths.shape)}",
                remedy=f"give ({features.shape[0]},)",
            )
        if lengths.is_floating_point():
            raise ModelError(f"lengths are {lengths.dtype}", remedy="give whole numbers of frames")
