"""A language that was made ready before, kept beside compiled code: read in a tenth of the time.

A compact language model has to be unpacked and its states linked, a lexicon becomes a tree. What
comes out is kept in the folder of :mod:`asr.compiled`, by a digest of all that it is made of: the
files, the tokens, and the sources. Whoever can write there decides what this program does anyway:
compiled code is read from there.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.compiled import cache_folder
from asr.decoding.beam.tree import Tree
from asr.decoding.beam.words import WordGrammar
from asr.decoding.lexicon import Lexicon
from asr.files.write import write_bytes
from asr.lm.compact import is_compact
from asr.lm.model import LanguageModel
from asr.lm.trie import Trie
from asr.tokens import Tokenizer

__all__ = ["Ready", "kept_path", "read_ready", "write_ready"]

NAME = "language-{}.npz"
DIGITS = 16
MOST = 3  # languages; some 30 MB each
SOURCES = (Path(__file__), Path(__file__).with_name("language.py"))  # no compiled code calls them

Arrays = Mapping[str, NDArray[Any]]


class Ready(NamedTuple):
    """A language of words: what it was read from, and the search's view of it."""

    lm: LanguageModel
    lexicon: Lexicon
    grammar: WordGrammar


def kept_path(
    tokenizer: Tokenizer, lm: str | os.PathLike[str], lexicon: str | os.PathLike[str]
) -> Path | None:
    """Where the language of these files is kept, or may be; None where nothing can be written.

    Only a compact model is kept: others may be of any size.
    """
    folder = cache_folder()
    if folder is None or not is_compact(lm):
        return None
    digest = hashlib.sha256(repr((tokenizer.kind, tokenizer.tokens, tokenizer.scores)).encode())
    try:
        for path in (lm, lexicon, *SOURCES):
            content = Path(path).read_bytes()
            digest.update(f"\0{len(content)}\0".encode() + content)
    except OSError:
        return None  # told by whoever reads it
    return folder / NAME.format(digest.hexdigest()[:DIGITS])


def read_ready(path: Path) -> Ready | None:
    """What :func:`write_ready` wrote; None where there is nothing, or it is damaged."""
    try:
        with open(path, "rb") as file, np.load(file) as stored:
            arrays = {name: stored[name] for name in stored.files}
        ready = Ready(_model(arrays), _lexicon(arrays), _grammar(arrays))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    with suppress(OSError):
        os.utime(path)
    return ready


def write_ready(path: Path, ready: Ready) -> None:
    """Keep ``ready``, if there is room; of other languages those used last stay."""
    lm, lexicon = ready.lm, ready.lexicon
    ways = [way for _, way in lexicon.ways()]
    arrays = {
        **_fields("lm", lm.trie),
        **_fields("grammar", ready.grammar),
        "lm.vocabulary": _packed(lm.vocabulary),
        "lm.order": np.array(lm.order),
        "lexicon.words": _packed(lexicon.pronunciations),
        "lexicon.ways": np.array([len(each) for each in lexicon.pronunciations.values()]),
        "lexicon.lengths": np.array([len(way) for way in ways]),
        "lexicon.tokens": np.array([token for way in ways for token in way], dtype=np.int32),
        "lexicon.separator": np.array(-1 if lexicon.separator is None else lexicon.separator),
        "lexicon.silences": np.array(lexicon.silences, dtype=np.int32),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    with suppress(OSError):
        write_bytes(path, buffer.getvalue())
        others = sorted(set(path.parent.glob(NAME.format("*"))) - {path}, key=_last_used)
        for old in others[: max(0, len(others) + 1 - MOST)]:
            old.unlink(missing_ok=True)


def _last_used(path: Path) -> float:
    return path.stat().st_mtime


def _fields(prefix: str, record: Any) -> dict[str, NDArray[Any]]:
    """The fields of a named tuple, and of those within it, as arrays by name."""
    found: dict[str, NDArray[Any]] = {}
    for name, value in record._asdict().items():
        if isinstance(value, Trie):
            continue  # the language model's, which is there already
        if isinstance(value, tuple):
            found |= _fields(f"{prefix}.{name}", value)
        else:
            found[f"{prefix}.{name}"] = np.asarray(value)
    return found


def _model(arrays: Arrays) -> LanguageModel:
    trie = Trie(*(arrays[f"lm.{name}"] for name in Trie._fields))
    words = tuple(_unpacked(arrays["lm.vocabulary"]))
    return LanguageModel.of_compact(words, trie, int(arrays["lm.order"]))


def _grammar(arrays: Arrays) -> WordGrammar:
    """All but the language model's trie, for which that of another grammar stands."""
    tree = Tree(*(arrays[f"grammar.tree.{name}"] for name in Tree._fields))
    trie = Trie(*(arrays[f"lm.{name}"] for name in Trie._fields))
    values: dict[str, Any] = {"tree": tree, "trie": trie}
    for name in set(WordGrammar._fields) - set(values):
        value = arrays[f"grammar.{name}"]
        values[name] = value if value.ndim else value.item()
    return WordGrammar(**values)


def _lexicon(arrays: Arrays) -> Lexicon:
    tokens = arrays["lexicon.tokens"].tolist()
    ends = accumulate(arrays["lexicon.lengths"].tolist(), initial=0)
    ways = [tuple(tokens[begin:end]) for begin, end in pairwise(ends)]
    bounds = pairwise(accumulate(arrays["lexicon.ways"].tolist(), initial=0))
    words = _unpacked(arrays["lexicon.words"])
    separator = int(arrays["lexicon.separator"])
    return Lexicon(
        {word: tuple(ways[a:b]) for word, (a, b) in zip(words, bounds, strict=True)},
        None if separator < 0 else separator,
        tuple(arrays["lexicon.silences"].tolist()),
    )


def _packed(words: Any) -> NDArray[np.uint8]:
    """Words, none of which has a line break, in UTF-8."""
    return np.frombuffer("\n".join(words).encode(), dtype=np.uint8)


def _unpacked(words: NDArray[np.uint8]) -> Iterator[str]:
    return iter(words.tobytes().decode().split("\n"))
