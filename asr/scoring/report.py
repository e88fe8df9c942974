"""Alignments and confusions for people to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from asr.scoring.edits import Path, align, confusions

__all__ = ["alignment_lines", "confusion_lines", "shown"]

NOTHING = "*"


def shown(token: str | None) -> str:
    """A token as people see it."""
    return "<nothing>" if token is None else "<space>" if token == " " else token


def alignment_lines(
    reference: Sequence[str], hypothesis: Sequence[str], path: Path | None = None
) -> list[str]:
    """The two below each other, and a line of marks: S, D and I for the edits of ``path``.

    >>> print(*alignment_lines("a cat sat".split(), "a hat sat down".split()), sep="\\n")
    REF: a cat sat ****
    HYP: a hat sat down
             S   I
    """
    rows = ["REF:", "HYP:", "    "]
    for i, j in align(reference, hypothesis) if path is None else path:
        said = reference[i] if i >= 0 else None
        heard = hypothesis[j] if j >= 0 else None
        mark = "I" if said is None else "D" if heard is None else "S" if said != heard else ""
        width = max(cell_len(token) for token in (said, heard) if token is not None)
        cells = (said or NOTHING * width, heard or NOTHING * width, mark)
        rows = [
            f"{row} {cell}{' ' * (width - cell_len(cell))}"
            for row, cell in zip(rows, cells, strict=True)
        ]
    return [row.rstrip() for row in rows if row.strip()]


def confusion_lines(pairs: Iterable[tuple[Sequence[str], Sequence[str]]], most: int) -> list[str]:
    """Substitutions, deletions and insertions over ``(reference, hypothesis)`` pairs, with their
    counts, the commonest first, at most ``most`` of each.
    """
    kinds: dict[str, list[str]] = {"substitutions": [], "deletions": [], "insertions": []}
    for said, heard, count in confusions(pairs):
        if said is None:
            kinds["insertions"].append(f"{count:6}  {shown(heard)}")
        elif heard is None:
            kinds["deletions"].append(f"{count:6}  {shown(said)}")
        else:
            kinds["substitutions"].append(f"{count:6}  {shown(said)} -> {shown(heard)}")
    lines = []
    for kind, found in kinds.items():
        rest = len(found) - most
        lines += [f"{kind}: {len(found)} different", *found[:most]]
        lines += [f"        and {rest} more"] if rest > 0 else []
    return lines
