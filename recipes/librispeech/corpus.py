"""LibriSpeech in OpenSLR's layout, read by lhotse: ``train-clean-5/1088/134315/….flac``."""

from __future__ import annotations

from pathlib import Path

from lhotse.audio.utils import AudioLoadingError
from lhotse.recipes import prepare_librispeech

from asr.audio import probe
from asr.files.read import read_lines
from asr.types import CorpusError
from recipes.common.manifests import Utterance

__all__ = ["SPLITS", "TITLE", "utterances"]

TITLE = "LibriSpeech"
SPLITS = ("train", "dev", "test")


def utterances(corpus: Path, split: str) -> list[Utterance]:
    """Return all subsets whose names begin with ``split`` (train-clean-5, dev-clean, …).

    Raises:
        CorpusError: the folder or the split's subsets are missing, or one has no utterances, or
            audio without text or text without audio.
        AudioError: a file is not audio.
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
    for name in folders:
        _check_whole(corpus / name)
    try:
        manifests = prepare_librispeech(corpus, dataset_parts=folders)
    except (AudioLoadingError, AssertionError, ValueError, OSError, RuntimeError) as error:
        for path in sorted(path for name in folders for path in (corpus / name).rglob("*.flac")):
            probe(path)  # names the file, where lhotse speaks of its backends
        raise CorpusError(
            f"lhotse cannot read the subsets: {error}",
            where=str(corpus),
            remedy="restore the archives",
        ) from None
    found = [u for name in folders for u in _subset(manifests.get(name, {}))]
    if not found:
        raise CorpusError("no utterances in the subsets", where=str(corpus))
    return sorted(found, key=lambda utterance: utterance.id)


def _check_whole(folder: Path) -> None:
    """Raise unless each recording has its text and each text its recording: lhotse drops others."""
    audio = {path.stem for path in folder.rglob("*.flac")}
    texts = {}
    for path in sorted(folder.rglob("*.trans.txt")):
        lines = read_lines(path, CorpusError, remedy="restore the archives")
        texts.update(line.text.partition(" ")[::2] for line in lines)
    for lacking, what in (
        (audio - texts.keys(), "no text"),
        (texts.keys() - audio, "no audio"),
        ({name for name, text in texts.items() if not text.strip()}, "no text"),
    ):
        if lacking:
            raise CorpusError(
                f"{what} for {len(lacking)} utterances, {min(lacking)} the first",
                where=str(folder),
                remedy="restore the archives",
            )


def _subset(manifests: dict) -> list[Utterance]:
    if not manifests:
        return []
    audio = {r.id: Path(r.sources[0].source) for r in manifests["recordings"]}
    return [
        Utterance(s.id, audio[s.recording_id], s.text, s.speaker) for s in manifests["supervisions"]
    ]
