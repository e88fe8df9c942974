"""Which column of a table holds what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from asr.types import CorpusError

__all__ = ["KINDS", "choose_columns", "is_header"]

# What columns are called; the first that is there counts.
NAMES = {
    "audio": "audio_filepath audio_path audio_file audio path file_name filename file_path "
    "filepath file wav_filename wav_path wav mp3 flac clip recording sound",
    "text": "text sentence transcript transcription normalized_text raw_text words label",
    "speaker": "speaker_id speaker spk_id spk client_id speaker_name reader_id reader",
    "id": "id utt_id utterance_id utt key segment_id",
    "split": "split subset partition",
    "start": "start offset start_time start_seconds begin",
    "end": "end end_time end_seconds stop",
    "duration": "duration",
    "channel": "channel",
}
KINDS = tuple(NAMES)
NEMO = "audio_filepath"


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name.strip().lower())


def is_header(row: Sequence[str], given: Mapping[str, str]) -> bool:
    """Whether ``row`` names columns: those that the user gives, or one that holds audio or text."""
    if given:
        return any(name in row for name in given.values())
    known = {*NAMES["audio"].split(), *NAMES["text"].split()}
    return any(_plain(cell) in known for cell in row)


def choose_columns(names: Sequence[str], given: Mapping[str, str], where: str) -> dict[str, str]:
    """The column of each kind of :data:`KINDS` that there is, by name.

    A duration counts where there is a start, and in NeMo's manifests: else it may be in any unit.

    Raises:
        CorpusError: a column that the user names is not there, or none holds audio or text.
    """
    there = ", ".join(names)
    chosen = {}
    for kind, name in given.items():
        if name not in names:
            raise CorpusError(
                f"no column {name!r} for {kind}", where=where, remedy=f"there are: {there}"
            )
        chosen[kind] = name
    plain = {_plain(name): name for name in reversed(names) if name not in chosen.values()}
    for kind, known in NAMES.items():
        found = next((plain[name] for name in known.split() if name in plain), None)
        if kind not in chosen and found is not None:
            chosen[kind] = found
    has_unit = "duration" in given or "start" in chosen or chosen.get("audio") == NEMO
    if not has_unit:
        chosen.pop("duration", None)
    for kind in ("audio", "text"):
        if kind not in chosen:
            raise CorpusError(
                f"no column seems to hold the {kind}",
                where=where,
                remedy=f"name it, as --columns {kind}=NAME; there are: {there}",
            )
    return chosen
