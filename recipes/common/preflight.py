"""What CTC can learn from, told before training: targets that no path can spell are left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from asr.tokens import min_frames
from asr.types import AlignmentError

__all__ = ["Preflight", "preflight"]


@dataclass(frozen=True)
class Preflight:
    """Which utterances of a manifest CTC can learn from, and which not and why, by id."""

    usable: tuple[str, ...]
    too_short: tuple[str, ...] = field(default=())
    empty: tuple[str, ...] = field(default=())
    unknown: tuple[str, ...] = field(default=())
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def rejected(self) -> tuple[str, ...]:
        """Ids of all unusable utterances."""
        return self.too_short + self.empty + self.unknown

    def report(self, limit: int = 10) -> str:
        """Lines for a terminal: counts, then the first ``limit`` rejected utterances by id."""
        total = len(self.usable) + len(self.rejected)
        lines = [
            f"{len(self.usable)} of {total} utterances can be trained on "
            f"({len(self.too_short)} too short for their text, {len(self.empty)} without text, "
            f"{len(self.unknown)} with unknown symbols)"
        ]
        lines += [f"  {name}: {self.reasons[name]}" for name in self.rejected[:limit]]
        if len(self.rejected) > limit:
            lines.append(f"  … and {len(self.rejected) - limit} more")
        return "\n".join(lines)

    def require_any(self) -> None:
        """Raise :class:`AlignmentError` when nothing is left to train on."""
        if not self.usable:
            raise AlignmentError(
                f"no utterance can be trained on\n{self.report()}",
                remedy="check the texts, the token list and the frame rate (stack, subsample)",
            )


def preflight(
    items: Iterable[tuple[str, int, Sequence[int] | None, Sequence[str]]],
) -> Preflight:
    """Sort utterances into usable and unusable before any training.

    Args:
        items: ``(id, frames, labels, unknown)`` each: frames after stacking and subsampling, label
            ids (``None`` where the text has unknown symbols), and those symbols.
    """
    groups: dict[str, list[str]] = {"usable": [], "too_short": [], "empty": [], "unknown": []}
    reasons: dict[str, str] = {}
    for name, frames, labels, unknown in items:
        if unknown or labels is None:
            groups["unknown"].append(name)
            reasons[name] = f"unknown symbols {', '.join(map(repr, unknown))}"
        elif not labels:
            groups["empty"].append(name)
            reasons[name] = "empty text"
        elif frames < min_frames(labels):
            groups["too_short"].append(name)
            repeats = min_frames(labels) - len(labels)
            reasons[name] = (
                f"{frames} frames for {len(labels)} labels and {repeats} repeats, "
                f"{min_frames(labels)} needed"
            )
        else:
            groups["usable"].append(name)
    return Preflight(**{key: tuple(names) for key, names in groups.items()}, reasons=reasons)
