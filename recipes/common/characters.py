"""Every character of a corpus with its count and an example, before anything is trained."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from asr.files.write import write_text
from recipes.common.manifests import Utterance

__all__ = [
    "CHARACTERS_FILE",
    "CharacterCount",
    "count_characters",
    "lacking",
    "named",
    "save_characters",
    "summary",
]

CHARACTERS_FILE = "characters.tsv"
RAREST = 3  # of a group that the table names
FEW = 8  # characters in a line of text


@dataclass(frozen=True)
class CharacterCount:
    """A character, how often it is in the texts of each split, and an utterance that has it."""

    character: str
    counts: Mapping[str, int]
    example: str

    @property
    def total(self) -> int:
        """Of all splits."""
        return sum(self.counts.values())

    @property
    def name(self) -> str:
        """Unicode's."""
        return unicodedata.name(self.character, f"U+{ord(self.character):04X}")

    @property
    def group(self) -> str:
        """What the table puts it with: the letters of one script, digits, marks, signs."""
        kind = unicodedata.category(self.character)
        if kind[0] in "LM":
            return f"letters, {self.name.partition(' ')[0].capitalize()}"
        return {"N": "digits", "P": "punctuation"}.get(kind[0], "signs")

    def __str__(self) -> str:
        shown = "space" if self.character == " " else self.character
        return f"{shown} ({self.total}, {self.example})"


def count_characters(splits: Mapping[str, Sequence[Utterance]]) -> list[CharacterCount]:
    """The characters of all texts, the rarest first."""
    counts: dict[str, Counter[str]] = {}
    examples: dict[str, str] = {}
    for split, utterances in splits.items():
        for utterance in utterances:
            for character, count in Counter(utterance.text).items():
                counts.setdefault(character, Counter())[split] += count
                examples.setdefault(character, utterance.id)
    found = (CharacterCount(c, dict(counts[c]), examples[c]) for c in counts)
    return sorted(found, key=lambda item: (item.total, item.character))


def lacking(characters: Sequence[CharacterCount]) -> list[CharacterCount]:
    """Those that the training texts have not."""
    return [item for item in characters if not item.counts.get("train")]


def save_characters(
    data: Path, characters: Sequence[CharacterCount], splits: Sequence[str]
) -> None:
    """Write ``characters.tsv``: a line a character, the rarest first; no file where there is none.

    Raises:
        OSError: it cannot be written.
    """
    if not characters:
        (data / CHARACTERS_FILE).unlink(missing_ok=True)
        return
    rows = [["character", "code", "name", *splits, "example"]]
    for item in characters:
        counts = [str(item.counts.get(split, 0)) for split in splits]
        code = f"U+{ord(item.character):04X}"
        rows.append([item.character, code, item.name, *counts, item.example])
    write_text(data / CHARACTERS_FILE, "".join("\t".join(row) + "\n" for row in rows))


def summary(characters: Sequence[CharacterCount]) -> Table:
    """A short table: the characters by groups, and the rarest of each with an utterance."""
    groups: dict[str, list[CharacterCount]] = {}
    for item in characters:
        if item.character != " ":
            groups.setdefault(item.group, []).append(item)
    table = Table("characters", "kinds", "count", "rarest (count, an utterance)")
    for group, members in sorted(groups.items(), key=lambda pair: sum(m.total for m in pair[1])):
        count = sum(member.total for member in members)
        rarest = ", ".join(map(str, members[:RAREST]))
        table.add_row(group, str(len(members)), f"{count:,}", Text(rarest))
    return table


def named(characters: Sequence[CharacterCount]) -> str:
    """Some of them, in a line."""
    more = f" and {len(characters) - FEW} more" if len(characters) > FEW else ""
    return ", ".join(map(str, characters[:FEW])) + more
