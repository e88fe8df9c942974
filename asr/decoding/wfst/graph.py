"""A decoding graph on disk: a folder that says which tokens it is for.

``graph.json``   format, checksums of the other files, and what the graph was made of, for people
``TLG.fst``      the transducer, as OpenFst keeps constant ones
``words.txt``    its words by label, ``word label`` a line
``tokens.txt``   the tokens of the bundle that it was made for
``lexicon.txt``  the pronunciations, where the words are not spelled with the tokens
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from asr.decoding.lexicon import Lexicon, read_lexicon, write_lexicon
from asr.decoding.wfst.kaldi import kaldi
from asr.files.read import read_text
from asr.files.write import replace_folder, write_text
from asr.tokens import Tokenizer
from asr.types import AsrError, GraphError

__all__ = ["EPSILON", "Graph", "check_place", "load_graph", "save_graph"]

FORMAT = "peephole-asr graph 1"
CONFIG, FST, WORDS, TOKENS, LEXICON = (
    "graph.json",
    "TLG.fst",
    "words.txt",
    "tokens.txt",
    "lexicon.txt",
)
RENEW = "make the graph again with asr graph"
EPSILON = "<eps>"  # the name of label 0, as in Kaldi's tables


@dataclass(frozen=True, eq=False)
class Graph:
    """What a search needs.

    Attributes:
        fst: a ``kaldifst.StdConstFst``: token k is its input label 1 + k, words its output labels.
        words: by label; the first is none.
        tokenizer: of the bundle that the graph is for.
        lexicon: pronunciations, where the words are not spelled with the tokens.
        metadata: JSON values about its making, for people.
    """

    fst: Any
    words: tuple[str, ...]
    tokenizer: Tokenizer
    lexicon: Lexicon | None
    metadata: dict[str, Any] = field(default_factory=dict)


def save_graph(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write ``graph`` as the folder ``path``, replacing a graph that stands there.

    Raises:
        GraphError: ``path`` is something other than a graph, or the disk refuses.
    """
    target = Path(path).absolute()
    check_place(target)
    try:
        with replace_folder(target) as draft:
            _write_files(graph, draft)
    except OSError as error:
        raise GraphError(
            f"the graph cannot be written: {error.strerror or error}",
            where=str(path),
            remedy="choose a folder you may write to, with space left",
        ) from None


def check_place(target: Path) -> None:
    """Check that a graph may be written as the folder ``target``.

    Raises:
        GraphError: something else stands there, or there is no folder to hold it.
    """
    if not target.parent.is_dir():
        raise GraphError("there is no such folder", where=str(target.parent), remedy="make it")
    empty = target.is_dir() and not any(target.iterdir())
    if target.exists() and not empty and not (target / CONFIG).is_file():
        raise GraphError(
            "something other than a graph stands here", where=str(target), remedy="name another"
        )


def _write_files(graph: Graph, folder: Path) -> None:
    if not graph.fst.write(str(folder / FST)):
        raise OSError(f"{FST} was not written whole")
    lines = "".join(f"{word} {label}\n" for label, word in enumerate(graph.words))
    write_text(folder / WORDS, lines)
    graph.tokenizer.save(folder / TOKENS)
    if graph.lexicon is not None:
        write_lexicon(graph.lexicon, folder / LEXICON, graph.tokenizer)
    config = {
        "format": FORMAT,
        "metadata": graph.metadata,
        "checksums": {file.name: _checksum(file) for file in sorted(folder.iterdir())},
    }
    text = json.dumps(config, ensure_ascii=False, indent=1) + "\n"
    write_text(folder / CONFIG, text)


def load_graph(path: str | os.PathLike[str], tokenizer: Tokenizer) -> Graph:
    """Read what :func:`save_graph` wrote, made for the tokens of ``tokenizer``.

    The last graph stays in memory, so that asking for it again costs nothing.

    Raises:
        ConfigError: the packages of the extra ``wfst`` are not installed.
        GraphError: the folder is missing or damaged, or the graph was made for other tokens.
    """
    folder = Path(path).absolute()
    try:
        changed = (folder / CONFIG).stat().st_mtime_ns
    except OSError as error:
        raise GraphError(
            f"there is no decoding graph: {error.strerror}",
            where=str(path),
            remedy="give a folder that asr graph made",
        ) from None
    graph = _read(folder, changed)
    own = graph.tokenizer
    if (own.kind, own.tokens, own.scores) != (tokenizer.kind, tokenizer.tokens, tokenizer.scores):
        raise GraphError(
            "the graph was made for the tokens of another bundle",
            where=str(path),
            remedy="make one for this bundle with asr graph",
        )
    return graph


@lru_cache(maxsize=1)
def _read(folder: Path, changed: int) -> Graph:
    """``changed`` is when the folder was written, so that another in its place is read anew."""
    fst = kaldi("kaldifst")
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            raise _damaged(folder / CONFIG, f"this is not a {FORMAT}")
        _verify(folder, config["checksums"])
        lines = read_text(folder / WORDS, GraphError, remedy=RENEW).splitlines()
        tokenizer = Tokenizer.load(folder / TOKENS)
        given = LEXICON in config["checksums"]
        return Graph(
            fst.StdConstFst.read(str(folder / FST)),
            tuple(line.rsplit(" ", 1)[0] for line in lines),
            tokenizer,
            read_lexicon(folder / LEXICON, tokenizer, GraphError) if given else None,
            config["metadata"] if "metadata" in config else config["facts"],
        )
    except OSError as error:
        where = Path(error.filename) if error.filename else folder
        raise _damaged(where, f"cannot read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, AsrError):
            raise
        raise _damaged(folder / CONFIG, "the file is damaged") from None


def _verify(folder: Path, checksums: Mapping[str, str]) -> None:
    for name in {FST, WORDS, TOKENS, *checksums}:
        if _checksum(folder / name) != checksums[name]:
            raise _damaged(folder / name, "the file is not the one that was written")


def _damaged(file: Path, what: str) -> GraphError:
    return GraphError(what, where=str(file), remedy=RENEW)


def _checksum(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
