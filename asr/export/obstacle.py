"""Which models ONNX can hold; known without importing it."""

from __future__ import annotations

from asr.nn.model import PEER, AcousticModelConfig
from asr.types import ConfigError

__all__ = ["obstacle"]


def obstacle(
    config: AcousticModelConfig, *, int8: bool = False, chunks: bool = False
) -> ConfigError | None:
    """What keeps a model of this shape from ONNX; None if nothing does.

    ``int8`` asks for its 8-bit form, ``chunks`` for the graph of streams.
    """
    if config.network.proj_size:
        return ConfigError(
            "ONNX's LSTM has no projection of its output", remedy="use torch, or proj_size 0"
        )
    if int8 and config.network.cell == "rnn":
        return ConfigError(
            "ONNX Runtime has an 8-bit LSTM, but no 8-bit simple recurrent network",
            remedy="leave out int8, or choose another cell",
        )
    if chunks and config.network.cell == PEER:
        return ConfigError(f"{PEER} cannot be run by chunks", remedy="choose another cell")
    return None
