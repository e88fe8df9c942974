"""What the optimiser does with each parameter: weight decay is for matrices alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

__all__ = ["parameter_groups", "regroup"]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for AdamW: the weight matrices, which decay, and all else, which does not.

    Dimensions do not tell the two apart, since biases and peepholes of a recurrent layer have a
    leading one of directions. Decay would close the forget gate, whose bias begins at 1.
    """
    named = dict(model.named_parameters())
    matrices, others = _split(named, _is_matrix)
    return [
        {"params": [named[name] for name in matrices], "weight_decay": weight_decay},
        {"params": [named[name] for name in others]},
    ]


def regroup(state: dict[str, Any], model: nn.Module) -> None:
    """Bring an optimiser's ``state`` of an earlier version into today's groups, in place.

    There, all tensors of more than one dimension were in the first group. Each parameter keeps
    what the optimiser knows of it.
    """
    named = dict(model.named_parameters())
    matrices, others = _split(named, _is_matrix)
    first, second = state["param_groups"]
    if len(first["params"]) == len(matrices):
        return
    many, one = _split(named, lambda name: named[name].dim() > 1)
    before = many + one
    moments = dict(zip(before, (state["state"].get(i) for i in range(len(before))), strict=True))
    state["state"] = {
        i: moments[name] for i, name in enumerate(matrices + others) if moments[name] is not None
    }
    first["params"] = list(range(len(matrices)))
    second["params"] = list(range(len(matrices), len(named)))


def _is_matrix(name: str) -> bool:
    """True of ``weight_ih`` and its like, in our layers and in torch's."""
    return name.rpartition(".")[2].startswith("weight")


def _split(names: Iterable[str], belongs: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    return [n for n in names if belongs(n)], [n for n in names if not belongs(n)]
