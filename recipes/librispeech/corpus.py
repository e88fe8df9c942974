"""LibriSpeech in OpenSLR's layout, read by lhotse: ``train-clean-5/1088/134315/….flac``."""

from __future__ import annotations

from pathlib import Path

from lhotse.recipes import prepare_librispeech

from asr.types import CorpusError
from recipes.common.manifests import Utterance

__all__ = ["SPLITS", "TITLE", "utterances"]

TITLE = "LibriSpeech"
SPLITS = ("train", "dev", "test")


def utterances(corpus: Path, split: str) -> list[Utterance]:
    """Return all subsets whose names begin with ``split`` (train-clean-5, dev-clean, …).

    Raises:
        CorpusError: the folder or the split's subsets are missing, or one has no utterances.
    """
    if split not in SPLITS:
        raise CorpusError(f"unknown split {split!r}", remedy=f"choose {', '.join(SPLITS)}")
    folders = sorted(p.name for p in corpus.glob(f"{split}-*") if p.is_dir())
    if not folders:
        raise CorpusError(
            f"no subset {split}-* here",
            where=str(corpus),
            remedy="give the folder that holds train-clean-5, dev-clean and the like",
        )
    try:
        manifests = prepare_librispeech(corpus, dataset_parts=folders)
    except (AssertionError, ValueError, OSError, RuntimeError) as error:
        raise CorpusError(
            f"lhotse cannot read the subsets: {error}",
            where=str(corpus),
            remedy="restore the archives",
        ) from None
    found = [u for name in folders for u in _subset(manifests.get(name, {}))]
    if not found:
        raise CorpusError("no utterances in the subsets", where=str(corpus))
    return sorted(found, key=lambda utterance: utterance.id)


def _subset(manifests: dict) -> list[Utterance]:
    if not manifests:
        return []
    audio = {r.id: Path(r.sources[0].source) for r in manifests["recordings"]}
    return [
        Utterance(s.id, audio[s.recording_id], s.text, s.speaker) for s in manifests["supervisions"]
    ]
