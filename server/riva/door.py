"""Whether clients of NVIDIA Riva are served: only where the package with their messages is."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from functools import partial

import grpc

from server.api.live import LiveCalls
from server.api.pipeline import Pipeline
from server.engine.admission import Admission

__all__ = ["open_door", "state"]

log = logging.getLogger(__name__)

AddToServer = Callable[[grpc.aio.Server], None]
INSTALL = "pip install 'peephole-asr[riva]'"


def state() -> str:
    """What ``--help`` says of the door."""
    if _is_installed():
        return "Clients of NVIDIA Riva are served on the same port."
    return f"Clients of NVIDIA Riva are served as well after {INSTALL}."


def open_door(
    pipeline: Pipeline, live: LiveCalls, admission: Admission, idle_seconds: float
) -> AddToServer | None:
    """What lets a server answer Riva's methods too; None: nothing, and the log says why."""
    if not _is_installed():
        log.info("clients of NVIDIA Riva are not served: %s", INSTALL)
        return None
    try:
        from server.riva.service import RivaService, add_to_server
    except Exception as error:  # its files refuse to run with older releases of gRPC or protobuf
        log.warning("clients of NVIDIA Riva are not served: %s", error)
        return None
    log.debug("clients of NVIDIA Riva are served as well")
    return partial(add_to_server, RivaService(pipeline, live, admission, idle_seconds))


def _is_installed() -> bool:
    """Whether the package is there; it is imported where it is used."""
    try:
        return importlib.util.find_spec("riva.client") is not None
    except ModuleNotFoundError:
        return False
