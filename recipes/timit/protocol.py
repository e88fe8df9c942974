"""The published protocol: how large each split is, and what is said of data that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lhotse.cut import Cut

from recipes.common.manifests import Utterance
from recipes.timit.corpus import DEVELOPMENT, is_of_sample
from recipes.timit.phones import fold39

__all__ = ["departures", "note", "note_on_cuts"]

SENTENCES, SA_SENTENCES = 8, 2  # of a speaker

SPEAKERS = {"train": 462, "dev": 50, "test": 24, "test-complete": 168}
DRAWN_SPEAKERS = {"train": 439, "dev": 23}  # where those who develop are of the training part
# In 39 classes, each `sil` counted: the totals in Kaldi's results for TIMIT.
PHONES = {"dev": 15_057, "test": 7_215}


@dataclass(frozen=True)
class Found:
    """What a split holds."""

    utterances: int
    speakers: frozenset[str]
    phones: int

    @classmethod
    def of(cls, spoken: Sequence[Utterance]) -> Found:
        """Count ``spoken``."""
        return cls(
            len(spoken),
            frozenset(utterance.speaker or "" for utterance in spoken),
            sum(len(fold39(utterance.text.split())) for utterance in spoken),
        )


def note_on_cuts(splits: Mapping[str, Sequence[Cut]]) -> str | None:
    """:func:`note` of splits that were prepared."""
    return note({split: [_utterance(cut) for cut in cuts] for split, cuts in splits.items()})


def _utterance(cut: Cut) -> Utterance:
    said = cut.supervisions[0]
    return Utterance(cut.id, Path(cut.recording.sources[0].source), said.text or "", said.speaker)


def note(splits: Mapping[str, Sequence[Utterance]]) -> str | None:
    """What stands below every table of results on data that are not the published ones."""
    found = departures(splits)
    return f"non-standard: {'; '.join(found)}" if found else None


def departures(splits: Mapping[str, Sequence[Utterance]]) -> list[str]:
    """In what ``splits`` differ from the published protocol; nothing if they do not."""
    spoken = [utterance for split in splits.values() for utterance in split]
    found = {split: Found.of(utterances) for split, utterances in splits.items()}
    reasons = []
    if of_sample := any(is_of_sample(utterance.audio) for utterance in spoken):
        reasons.append("the free sample of TIMIT")
    if with_sa := any("-sa" in utterance.id for utterance in spoken):
        reasons.append("with the sentences SA1 and SA2")
    drawn = "dev" in found and not of_sample and not found["dev"].speakers & DEVELOPMENT
    if drawn:
        reasons.append("development speakers of the training part")
    sentences = SENTENCES + SA_SENTENCES * with_sa
    for split, this in found.items():
        speakers = DRAWN_SPEAKERS.get(split, SPEAKERS[split]) if drawn else SPEAKERS[split]
        reasons += _differences(split, this, speakers, sentences)
        if split in PHONES and not (drawn and split == "dev") and not with_sa:
            reasons += _other_phones(split, this, speakers * sentences)
    return reasons


def _differences(split: str, found: Found, speakers: int, sentences: int) -> list[str]:
    if (found.utterances, len(found.speakers)) == (speakers * sentences, speakers):
        return []
    return [
        f"{split}: {found.utterances:,} utterances by {len(found.speakers)} speakers, "
        f"not {speakers * sentences:,} by {speakers}"
    ]


def _other_phones(split: str, found: Found, utterances: int) -> list[str]:
    """Said only where the utterances are all there: otherwise their number says it."""
    if found.utterances != utterances or found.phones == PHONES[split]:
        return []
    return [f"{split}: {found.phones:,} phones of 39 classes, not {PHONES[split]:,}"]
