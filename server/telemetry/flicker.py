"""How much of what interim results show stays."""

from __future__ import annotations

__all__ = ["ShownWords"]


class ShownWords:
    """The words that interim results of one segment showed: each counts once for a place and a way
    in which it was shown there.
    """

    def __init__(self) -> None:
        self._shown: set[tuple[int, str]] = set()

    def show(self, text: str) -> None:
        """An interim result says ``text``."""
        self._shown.update(enumerate(text.split()))

    def settle(self, text: str) -> tuple[int, int]:
        """The final result says ``text``: how many words were shown before it, and how many of
        them it has not in their place. The next segment begins.
        """
        kept = self._shown & set(enumerate(text.split()))
        shown, self._shown = self._shown, set()
        return len(shown), len(shown) - len(kept)
