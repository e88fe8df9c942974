"""The command ``download``: LibriSpeech's archives from OpenSLR or a mirror of it, unpacked.

Resource 12 is LibriSpeech (Panayotov, Chen, Povey & Khudanpur, ICASSP 2015), resource 31 a small
part of it. The checksums are those of the ``md5sum.txt`` of both.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from asr.files.write import PARTIAL
from asr.types import CorpusError
from recipes.common.recipe import Recipe
from recipes.common.transfer import Report, fetch
from recipes.librispeech.corpus import TITLE

__all__ = ["ARCHIVES", "Download", "download"]

SERVER = "https://www.openslr.org"
BLOCK = 1 << 20  # bytes
FOLDER = "LibriSpeech"  # that every archive unpacks to
ARCHIVES = {  # subset: number of the resource, MD5 of the archive
    "train-clean-5": (31, "5df7d4e78065366204ca6845bb08f490"),
    "dev-clean-2": (31, "6d7ab67ac6a1d2c993d050e16d61080d"),
    "train-clean-100": (12, "2a93770f6d5c6c964bc36631d331a522"),
    "train-clean-360": (12, "c0e676e450a7ff2f54aeade5171606fa"),
    "train-other-500": (12, "d1a0fd59409feb2c614ce4d30c387708"),
    "dev-clean": (12, "42e2234ba48799c1f50f24a7926300a1"),
    "dev-other": (12, "c8d0bcc9cca99d4f8b62fcc847357931"),
    "test-clean": (12, "32fa31d27d2e1cad72775fee3f4849a9"),
    "test-other": (12, "fb5a50374b501bb3bac4815ee91d3135"),
}


class Download:
    """The command and its options."""

    help = "fetch subsets from OpenSLR, check and unpack them"

    def add_options(self, part: ArgumentParser) -> None:
        """Add them to the command line."""
        part.add_argument("subsets", metavar="SUBSET", nargs="+", help=", ".join(ARCHIVES))
        part.add_argument("--to", type=Path, default=Path(), help="folder for LibriSpeech/ (.)")
        part.add_argument(
            "--mirror",
            metavar="URL",
            default=SERVER,
            help=f"server with OpenSLR's paths, such as https://us.openslr.org (default: {SERVER})",
        )
        part.add_argument("--keep-archives", action="store_true", help="do not remove them")

    def run(self, recipe: Recipe, arguments: Namespace) -> None:
        """Fetch all subsets.

        Raises:
            CorpusError: see :func:`download`.
        """
        for subset in arguments.subsets:
            if subset not in ARCHIVES:
                raise CorpusError(
                    f"{TITLE} has no subset {subset!r}", remedy=f"choose of {', '.join(ARCHIVES)}"
                )
        for subset in dict.fromkeys(arguments.subsets):
            download(subset, arguments.to, arguments.mirror, keep=arguments.keep_archives)
        print(f"python -m recipes.{recipe.name} prepare --corpus {arguments.to / FOLDER}")


def download(subset: str, folder: Path, mirror: str = SERVER, *, keep: bool = False) -> None:
    """Make the folder ``LibriSpeech/SUBSET`` in ``folder``, unless it is there.

    An archive that came in part is completed. It is unpacked when its MD5 is the published one, and
    removed then unless ``keep``. The subset's folder appears whole or not at all.

    Raises:
        CorpusError: it cannot be fetched, is not the published archive, or the disk refuses.
    """
    target = folder / FOLDER / subset
    if target.exists():
        print(f"{subset}: {target} is there already")
        return
    archive = folder / f"{subset}.tar.gz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not archive.exists():
            _fetch(subset, archive, mirror)
        _unpack(archive, target)
        if not keep:
            archive.unlink()
    except OSError as error:
        raise CorpusError(
            f"cannot write: {error.strerror or error}",
            where=str(error.filename or folder),
            remedy="check the folder and the space left; what came is kept",
        ) from None
    print(f"{subset}: {target}")


def _fetch(subset: str, archive: Path, mirror: str) -> None:
    resource, md5 = ARCHIVES[subset]
    url = f"{mirror.rstrip('/')}/resources/{resource}/{archive.name}"
    if not url.startswith(("http://", "https://")):
        raise CorpusError(f"{mirror!r} is no mirror", remedy="give a URL, https://…")
    partial = archive.with_name(archive.name + PARTIAL)
    with _bar(subset) as report:
        fetch(url, partial, report)
    found = _md5_of(partial)
    if found != md5:
        partial.unlink()
        raise CorpusError(
            f"this is not the published archive: its MD5 is {found}, not {md5}",
            where=url,
            remedy="run it again, or with another --mirror; what came is removed",
        )
    partial.rename(archive)


def _md5_of(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _bar(subset: str) -> Iterator[Report]:
    """Bytes that came, of how many, speed and time left; nothing where nobody looks."""
    console = Console(stderr=True)
    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Progress(
        *(TextColumn("{task.description}"), BarColumn(), *columns),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task(subset, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _unpack(archive: Path, target: Path) -> None:
    """Unpack beside ``target``'s folder, then move what is new into it."""
    draft = archive.with_name(f".{archive.name}{PARTIAL}")
    shutil.rmtree(draft, ignore_errors=True)  # of an interrupted run
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(draft, filter="data")
        if not (draft / FOLDER / target.name).is_dir():
            raise tarfile.TarError(f"it has no folder {FOLDER}/{target.name}")
        target.parent.mkdir(exist_ok=True)
        for found in sorted((draft / FOLDER).iterdir()):  # the subset, and texts about all of them
            if not (target.parent / found.name).exists():
                found.rename(target.parent / found.name)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise CorpusError(
            f"the archive cannot be unpacked: {error}", where=str(archive), remedy="remove it"
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
