"""Recordings shared out among workers of Ray, on one machine or many: the extra ``ray``.

Ray starts, places and replaces the workers. This process alone writes results, so a worker that
ends in the midst of its work leaves nothing behind, and what it had is done again by another.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from asr.extras import import_extra
from asr.transcribe import Outcome
from asr.types import AudioError, ConfigError

__all__ = ["transcribe_by_ray"]

FILES_AT_ONCE = 8  # of one worker; they are done again if it ends
MOST_BLOCKS = 4_096
# Read when Ray is imported. 0: this machine is enough, and Ray's servers listen on its loopback
# address, as they do on Windows and macOS, which the name is from. Else they listen on all.
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
LIVES = 3  # how often workers may end at a file
PURPOSE = "jobs with --engine ray"

Transcribe = Callable[[Sequence[str]], Iterator[tuple[int, Outcome]]]


def transcribe_by_ray(
    make: Callable[[], Transcribe],
    files: Sequence[str],
    workers: int | None = None,
    *,
    gpus: float = 0.0,
) -> Iterator[tuple[int, Outcome]]:
    """Yield each file's index with its transcript or error, as they come.

    Args:
        make: called once in each worker; what it returns transcribes some files.
        files: paths that every worker can read.
        workers: how many; None: as many as the cluster has processors, or GPUs if they need one.
        gpus: of one worker.

    Where the environment names a cluster in ``RAY_ADDRESS`` it is used. Else one is started on this
    machine for as long as this takes, which listens on its loopback address alone.

    Raises:
        MissingPackageError: Ray is not installed.
        ConfigError: Ray does not start, or the workers do not.
    """
    # What Ray would tell its makers of its use, it does not.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault(LOOPBACK, "0")
    ray = import_extra("ray", "ray", PURPOSE)
    import_extra("ray.data", "ray", PURPOSE)
    with _cluster(ray, workers), _errors(ray):
        yield from _outcomes(ray, make, files, workers, gpus)


def _outcomes(
    ray: Any,
    make: Callable[[], Transcribe],
    files: Sequence[str],
    workers: int | None,
    gpus: float,
) -> Iterator[tuple[int, Outcome]]:
    kind = "GPU" if gpus else "CPU"
    most = workers or max(int(ray.cluster_resources().get(kind, 1) / (gpus or 1)), 1)
    blocks = min(-(-len(files) // FILES_AT_ONCE), MOST_BLOCKS)
    rows = [{"index": index, "file": file} for index, file in enumerate(files)]
    lives = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Lives).remote()
    done = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
        _Worker,
        fn_constructor_args=(make, lives),
        batch_size=FILES_AT_ONCE,
        compute=ray.data.ActorPoolStrategy(size=min(most, blocks)),
        num_cpus=1,
        num_gpus=gpus or None,
    )
    for batch in done.iter_batches(batch_size=None, prefetch_batches=0):
        for index, outcome in zip(batch["index"], batch["outcome"], strict=True):
            yield int(index), pickle.loads(outcome)


class _Lives:
    """Counts how often each file was begun since it was last finished.

    Ray begins anew, without end, what a worker did when it ended. A file at which workers end would
    keep them from all others.
    """

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def spent(self, indices: Sequence[int]) -> list[int]:
        """How often each was begun."""
        return [self._begun[index] for index in indices]

    def begin(self, indices: Sequence[int]) -> None:
        """Count them once more."""
        self._begun.update(indices)

    def finish(self, indices: Sequence[int]) -> None:
        """No worker ended at these."""
        for index in indices:
            del self._begun[index]


class _Worker:
    """One process of Ray's, which loads the model once."""

    def __init__(self, make: Callable[[], Transcribe], lives: Any) -> None:
        self._transcribe = make()
        self._lives = lives
        self._ray = import_extra("ray", "ray", PURPOSE)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        indices = [int(index) for index in batch["index"]]
        files = [str(file) for file in batch["file"]]
        spent = self._ray.get(self._lives.spent.remote(indices))
        if any(spent):  # a worker has ended over them: one by one it shows at which
            outcomes = [
                self._of([index], [file])[0] if count < LIVES else _too_often(file)
                for index, file, count in zip(indices, files, spent, strict=True)
            ]
        else:
            outcomes = self._of(indices, files)
        packed = [pickle.dumps(outcome) for outcome in outcomes]
        return {"index": batch["index"], "outcome": np.array(packed, object)}

    def _of(self, indices: list[int], files: list[str]) -> list[Outcome]:
        self._ray.get(self._lives.begin.remote(indices))
        outcomes = dict(self._transcribe(files))
        self._ray.get(self._lives.finish.remote(indices))
        return [outcomes[position] for position in range(len(files))]


def _too_often(file: str) -> AudioError:
    return AudioError(
        f"the worker ended {LIVES} times when it had this file",
        where=file,
        remedy="see whether memory sufficed; the same command again tries it once more",
    )


@contextmanager
def _cluster(ray: Any, workers: int | None) -> Iterator[None]:
    """The cluster that the environment names, or one of our own on this machine."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not os.environ.get("RAY_ADDRESS"):
        options |= {
            "address": "local",
            "num_cpus": workers or len(os.sched_getaffinity(0)),
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    try:
        ray.init(**options)
    except (OSError, RuntimeError, ValueError, TimeoutError) as error:
        raise ConfigError(f"Ray does not start: {error}", remedy="see Ray's own log") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it warns of what is chosen below
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _errors(ray: Any) -> Iterator[None]:
    try:
        yield
    except ray.exceptions.RayError as error:
        first = next(filter(None, map(str.strip, str(error).splitlines())), "")
        raise ConfigError(
            f"Ray's workers cannot go on: {type(error).__name__}: {first}",
            remedy="see Ray's own log; the same command again goes on where this ended",
        ) from None
