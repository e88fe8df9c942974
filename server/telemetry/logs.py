"""The log: one line a record, for people or for machines, without what was said."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from asr.types import ConfigError
from server.telemetry.records import CallRecord

if TYPE_CHECKING:
    from argparse import _ArgumentGroup

__all__ = ["Format", "add_log_options", "log_call", "setup_logging"]

Format = Literal["text", "json"]
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
FIELDS = "asr_fields"  # where a log record carries those of a call

log = logging.getLogger(__name__)


def add_log_options(group: _ArgumentGroup, what: str) -> None:
    """Give a command the options of :func:`setup_logging`; ``what`` is it that has a line each."""
    group.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="(default: %(default)s)"
    )
    group.add_argument(
        "--log-level",
        choices=tuple(map(str.lower, LEVELS)),
        default="info",
        help=f"info has a line for each {what} (default: %(default)s)",
    )


def setup_logging(format: Format = "text", level: str = "INFO") -> None:
    """Send all logging, and Python's warnings, to standard error in one form.

    ``text`` is ``TIME LEVEL message key=value ...``; ``json`` an object with ``time`` (RFC 3339,
    UTC), ``level``, ``message`` and the same keys. A traceback is a value, too.

    Raises:
        ConfigError: an unknown format or level.
    """
    forms: dict[str, logging.Formatter] = {"text": _Text(), "json": _Json()}
    if format not in forms:
        raise ConfigError(f"no log format is called {format!r}", remedy="give text or json")
    if level.upper() not in LEVELS:
        raise ConfigError(
            f"no log level is called {level!r}", remedy=f"give one of {', '.join(LEVELS)}"
        )
    handler = _Handler(sys.stderr)
    handler.setFormatter(forms[format])
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(True)


def log_call(record: CallRecord) -> None:
    """One line about a call that ended, refused or not."""
    fields: dict[str, Any] = {
        "request_id": record.request_id,
        "method": record.method[:100],  # whatever the client asked for
        "code": record.code.name,
        "cause": record.cause,
        "model": record.model,
        "decoder": record.decoder,
        "seconds": round(record.total_seconds, 6),
        "audio_seconds": round(record.audio_seconds, 6),
        "audio_bytes": record.audio_bytes,
        "batch_size": record.batch_size,
        "stages": {stage: round(spent, 6) for stage, spent in record.stages.items()},
    }
    kept = {key: value for key, value in fields.items() if value or key == "seconds"}
    log.info("call", extra={FIELDS: kept})


def _parts(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, Any]:
    """Everything that a line says, in its order."""
    time = datetime.fromtimestamp(record.created, timezone.utc)
    parts: dict[str, Any] = {
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname,
        "message": record.getMessage(),
        **getattr(record, FIELDS, {}),
    }
    if record.exc_info:
        parts["exception"] = formatter.formatException(record.exc_info)
    return parts


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Serving goes on where the log cannot be written, for its disk is full or its reader gone."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Of logging, which prints a traceback where the line could not go."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_parts(record, self))  # ASCII: nothing in it can break the line


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        parts = _parts(record, self)
        head = [escaped(str(parts.pop(key))) for key in ("time", "level", "message")]
        return " ".join([*head, *(f"{key}={_value(value)}" for key, value in parts.items())])


def _value(value: Any) -> str:
    """As it is if it is a plain word, else in quotes."""
    if isinstance(value, dict):
        return ",".join(f"{key}:{one}" for key, one in value.items())
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(' "=\\')
    return text if text and plain else json.dumps(text)


def escaped(text: str) -> str:
    """``text`` on one line, with escapes for what would move, colour or turn it on a terminal."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )
