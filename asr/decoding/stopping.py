"""How a search that runs in another thread is asked to end early."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stop", "StoppedError"]


class StoppedError(Exception):
    """A search ended because it was asked to; there is no result."""


class Stop:
    """A request to end, made by one thread and looked for by another, at least once a frame.

    ``flag`` is uint8 ``(1,)``, 0 until the request: an array, so that compiled code which holds no
    interpreter lock can look at it as well.
    """

    def __init__(self) -> None:
        self.flag: NDArray[np.uint8] = np.zeros(1, np.uint8)

    def set(self) -> None:
        """Ask the search to end."""
        self.flag[0] = 1

    def check(self) -> None:
        """Raise :class:`StoppedError` if the search was asked to end."""
        if self.flag[0]:
            raise StoppedError
