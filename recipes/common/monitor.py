"""The development value by which a run's best checkpoint is chosen, and its end found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Monitor", "MonitorName"]

MonitorName = Literal["error_rate", "loss", "token_error_rate"]


@dataclass(frozen=True)
class Monitor:
    """A value that should fall.

    Attributes:
        option: as ``--monitor`` names it.
        metric: the name of the recipe's error rate.
    """

    option: MonitorName
    metric: str

    @property
    def key(self) -> str:
        """What it is logged as."""
        return f"dev/{self.option}"

    @property
    def name(self) -> str:
        """What people call it."""
        return {
            "error_rate": self.metric,
            "loss": "development loss",
            "token_error_rate": "token error rate",
        }[self.option]

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.name if self.option == "loss" else f"development {self.name} (greedy)"

    def shown(self, value: float) -> str:
        """``value`` as it is printed: a rate in percent."""
        return f"{value:.3f}" if self.option == "loss" else f"{100 * value:.2f} %"
