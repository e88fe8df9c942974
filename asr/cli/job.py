"""``asr transcribe --job``: a result a recording in a folder, and a manifest of what is done."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from asr.cli.results import INPUTS, inputs_of
from asr.cli.terminal import FAILURE, complain, progress
from asr.cli.writers import Outcome, Result, ResultWriter
from asr.files.find import Source, find_audio
from asr.files.read import is_pipe
from asr.files.write import Guard, write_text
from asr.jobs.manifest import check_others, open_manifest
from asr.types import AsrError, ConfigError

__all__ = ["run_job"]

FILES_AT_ONCE = 500  # whose lengths are looked at before the first of them is transcribed
MANIFEST = re.compile(r"manifest(?:-\d+-of-(\d+))?\.jsonl")
DIGEST_BYTES = 1 << 20  # read at once
# Options that change who does the job, and not what it gives.
OF_THE_RUN = {"run", "files", "job", "output", "engine", "workers", "shard", "device", "backend"}
OF_THE_RUN |= {"batch_seconds", *INPUTS}


def run_job(options: argparse.Namespace, kind: type[ResultWriter]) -> int:
    """Do what of a job is not done yet; returns the exit status.

    Raises:
        ConfigError: options do not go together, two recordings would have one result, or the folder
            is another job's.
        OSError: results cannot be written.
    """
    if options.output is not None:
        raise ConfigError("--job and --output exclude each other", remedy="give --job alone")
    if options.workers is not None and (options.engine != "ray" or options.workers < 1):
        raise ConfigError("--workers are Ray's, 1 or more", remedy="give --engine ray as well")
    part, parts = _shard(options.shard)
    everything = find_audio(options.files)
    results = _results(everything, Path(options.job), kind, inputs_of(options))
    sources = everything[part::parts]
    name = "manifest.jsonl" if parts == 1 else f"manifest-{part}-of-{parts}.jsonl"
    os.makedirs(options.job, exist_ok=True)
    settings = _settings(options)
    check_others(_other_manifests(Path(options.job), name, parts), settings)
    failures = 0
    with open_manifest(Path(options.job, name), settings) as manifest:
        todo = [one for one in sources if not manifest.is_done(one.path, results[one.path])]
        if len(todo) < len(sources):
            complain(f"{len(sources) - len(todo)} of {len(sources)} files are done", kind="note")
        with (
            progress(len(todo), "transcribing") as (advance, hidden),
            closing(_outcomes(options, [one.path for one in todo])) as outcomes,
        ):
            for index, outcome in outcomes:
                source = todo[index]
                with hidden():
                    if isinstance(outcome, AsrError):
                        failures += 1
                        complain(str(outcome))
                        manifest.add(source.path, outcome)
                    else:
                        _write(kind, source, results[source.path], outcome)
                        manifest.add(source.path, results[source.path])
                advance(1)
    if failures:
        complain(f"{failures} of {len(sources)} files could not be transcribed")
    return FAILURE if failures else 0


def _other_manifests(folder: Path, own: str, parts: int) -> list[Path]:
    """Those of the job's other parts.

    Raises:
        ConfigError: it is divided into another number of parts.
    """
    others = []
    for path in sorted(folder.iterdir()):
        found = MANIFEST.fullmatch(path.name)
        if not found or path.name == own:
            continue
        if (number := int(found[1] or 1)) != parts:
            raise ConfigError(
                f"the job here is done in {_in_parts(number)}, not in {_in_parts(parts)}",
                where=str(path),
                remedy="give another folder, or the same --shard as before",
            )
        others.append(path)
    return others


def _in_parts(number: int) -> str:
    return "one part" if number == 1 else f"{number} parts"


def _outcomes(
    options: argparse.Namespace, files: Sequence[str]
) -> Generator[tuple[int, Outcome], None, None]:
    """Each file's index with its transcript or error, as they come."""
    from asr.cli.transcriber import Transcriber

    if not files:
        return
    if options.engine == "ray":
        from asr.jobs.ray import transcribe_by_ray

        make = partial(Transcriber, _anywhere(options))
        paths = [os.path.abspath(file) for file in files]
        gpus = 1.0 if options.device.startswith("cuda") else 0.0
        yield from transcribe_by_ray(make, paths, options.workers, gpus=gpus)
        return
    transcribe: Callable[[Sequence[str]], Iterator[tuple[int, Outcome]]] = Transcriber(options)
    for start in range(0, len(files), FILES_AT_ONCE):
        for index, outcome in transcribe(files[start : start + FILES_AT_ONCE]):
            yield start + index, outcome


def _anywhere(options: argparse.Namespace) -> argparse.Namespace:
    """The options as another process understands them, wherever it is."""
    values = {name: value for name, value in vars(options).items() if name != "run"}
    for name in INPUTS:
        if isinstance(values.get(name), str):
            values[name] = os.path.abspath(values[name])
    return argparse.Namespace(**values)


def _write(kind: type[ResultWriter], source: Source, result: Path, outcome: Outcome) -> None:
    result.parent.mkdir(parents=True, exist_ok=True)
    write_text(result, kind([source]).render(source, [Result(outcome)]))


def _results(
    sources: Sequence[Source], folder: Path, kind: type[ResultWriter], inputs: list[str | None]
) -> dict[str, Path]:
    """Where each recording's result is to be, by its path."""
    for source in sources:
        _refuse_pipe(source.path)
    paths = {source.path: folder / f"{source.name}.{kind.suffix}" for source in sources}
    names = Counter(f"{source.name}.{kind.suffix}" for source in sources)
    [(twice, times)] = names.most_common(1)
    if times > 1:
        raise ConfigError(
            f"two files would both write {twice}", remedy="give one of them another folder"
        )
    guard = Guard([*paths, *inputs])
    for path in paths.values():
        guard.check(path)
        if path.parent == folder and MANIFEST.fullmatch(path.name):
            raise ConfigError(
                "a result would stand in the place of the job's manifest",
                where=str(path),
                remedy="rename the recording, or take another --format",
            )
    return paths


def _refuse_pipe(place: str) -> None:
    if is_pipe(place):
        raise ConfigError(
            "a pipe is read once, and a job may begin again",
            where=place,
            remedy="give files or folders",
        )


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 1
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if part >= parts:
        raise ConfigError(f"--shard is {text}", remedy="give I/N, from 0/N on, such as 0/8")
    return part, parts


def _settings(options: argparse.Namespace) -> dict[str, str]:
    """What decides a job's results: options, and the content of the files that they name."""
    settings = {
        name.replace("_", " "): str(value)
        for name, value in sorted(vars(options).items())
        if name not in OF_THE_RUN and value is not None
    }
    for name in INPUTS:
        place = getattr(options, name, None)
        if isinstance(place, str):
            _refuse_pipe(place)
            settings[name] = _digest(Path(place))
    if "int8" in options.backend:  # others give the same results
        settings["backend"] = options.backend
    return settings


def _digest(place: Path) -> str:
    """Of a file, or of all files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(place.iterdir()) if place.is_dir() else [place]:
        if file.is_file():
            digest.update(os.fsencode(file.name) + f"\0{file.stat().st_size}\0".encode())
            with open(file, "rb") as content:
                for part in iter(lambda: content.read(DIGEST_BYTES), b""):
                    digest.update(part)
    return digest.hexdigest()[:16]
