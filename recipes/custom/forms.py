"""The forms of a corpus that are read: how each is recognised, and what reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from asr.files.find import files_below
from asr.types import CorpusError
from recipes.custom.cutsets import is_cutset, read_cutset
from recipes.custom.entries import Found, ReadOptions
from recipes.custom.folders import is_audio, read_folder
from recipes.custom.huggingface import is_dataset, read_dataset
from recipes.custom.kaldi import is_kaldi, read_kaldi
from recipes.custom.rows import TABLES
from recipes.custom.sphinx import is_sphinx, read_sphinx
from recipes.custom.splits import split_of_file
from recipes.custom.tables import read_common_voice, read_ljspeech, read_table

__all__ = ["FORMS", "recognise"]


class Form(NamedTuple):
    """A form: in words, whether a path is of it, and what reads it."""

    title: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], Found]


def _is_common_voice(path: Path) -> bool:
    return (path / "clips").is_dir() and any(path.glob("*.tsv"))


def _is_ljspeech(path: Path) -> bool:
    return (path / "metadata.csv").is_file() and (path / "wavs").is_dir()


def _is_table(path: Path) -> bool:
    return path.is_file() and path.name.lower().removesuffix(".gz").endswith(TABLES)


def _has_audio(path: Path) -> bool:
    return path.is_dir() and any(is_audio(file) for file in files_below(path))


# In this order: the first that fits is taken.
FORMS = {
    "kaldi": Form("Kaldi's data directory", is_kaldi, read_kaldi),
    "an4": Form("AN4's layout", is_sphinx, read_sphinx),
    "hf": Form("a data set of `datasets`", is_dataset, read_dataset),
    "commonvoice": Form("Common Voice", _is_common_voice, read_common_voice),
    "ljspeech": Form("LJSpeech", _is_ljspeech, read_ljspeech),
    "lhotse": Form("a CutSet of lhotse", is_cutset, read_cutset),
    "table": Form("a table (CSV, TSV, JSON, NeMo's manifest)", _is_table, read_table),
    "folder": Form("a folder of recordings", _has_audio, read_folder),
}


def recognise(path: Path) -> list[tuple[str, Path]]:
    """The form of ``path``, and what to read in it: the tables of a folder, for one.

    Raises:
        CorpusError: it is not there, or of no known form.
    """
    if not path.exists():
        raise CorpusError("there is no such file or folder", where=str(path), remedy="check --from")
    for name, form in FORMS.items():
        if name == "folder" and (tables := _tables_of_splits(path)):
            return tables
        if form.fits(path):
            return [(name, path)]
    known = "; ".join(f"{name}: {form.title}" for name, form in FORMS.items())
    raise CorpusError(
        "not of a form that is known", where=str(path), remedy=f"name it by --format: {known}"
    )


def _tables_of_splits(path: Path) -> list[tuple[str, Path]]:
    """The tables or CutSets in a folder, called as splits are, or the only one."""
    files = sorted(p for p in path.iterdir() if _is_table(p)) if path.is_dir() else []
    named = [file for file in files if split_of_file(file)] or (files if len(files) == 1 else [])
    return [("lhotse" if is_cutset(file) else "table", file) for file in named]
