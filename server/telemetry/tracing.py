"""Calls as OpenTelemetry traces, for those who have the extra ``telemetry`` and ask for it."""

from __future__ import annotations

import os
import threading
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from asr.types import ConfigError
from server.telemetry.metrics import METHODS
from server.telemetry.records import CallRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["Tracing"]

SERVICE_NAME = "peephole-asr"
# Of the semantic conventions for gRPC: those of a server that are its own fault.
FAULTS = ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")


class Tracing:
    """Gives a finished call to an exporter as one span, with a span for each stage inside.

    The caller's span is the parent, if its metadata hold a ``traceparent`` (W3C Trace Context).
    Spans are sent in the background. Without a ``provider`` nothing is done.
    """

    def __init__(self, provider: Any = None) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(__name__) if provider is not None else None

    @classmethod
    def start(cls, exporter: SpanExporter | None = None) -> Tracing:
        """Export as the standard variables ``OTEL_*`` say, or to the ``exporter`` given.

        Raises:
            ConfigError: OpenTelemetry, or the exporter that ``OTEL_TRACES_EXPORTER`` and
                ``OTEL_EXPORTER_OTLP_PROTOCOL`` name, is not installed.
        """
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ModuleNotFoundError:
            raise ConfigError(
                "tracing needs OpenTelemetry, which is not installed",
                remedy="pip install 'peephole-asr[telemetry]'",
            ) from None
        name = os.environ.get("OTEL_SERVICE_NAME") or SERVICE_NAME
        # A stop has its own time limit, which an exit handler would not keep.
        provider = TracerProvider(
            resource=Resource.create({"service.name": name}), shutdown_on_exit=False
        )
        exporter = exporter or _exporter()
        if exporter is not None:
            provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    def observe(self, record: CallRecord) -> None:
        """Make the spans of a call that ended."""
        if self._tracer is None:
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        known = record.method in METHODS
        span = self._tracer.start_span(
            record.method if known else "_OTHER",
            context=_parent(record.traceparent),
            kind=SpanKind.SERVER,
            attributes=_attributes(record, known),
            start_time=_nanoseconds(record.started),
        )
        for stage, start, seconds in record.intervals:
            begin = record.started + start
            self._tracer.start_span(
                stage, context=set_span_in_context(span), start_time=_nanoseconds(begin)
            ).end(_nanoseconds(begin + seconds))
        if record.code.name in FAULTS:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_nanoseconds(record.started + record.total_seconds))

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Send what is left, for no longer than ``timeout_seconds``."""
        if self._provider is None:
            return
        # The SDK's own limits do not hold while an exporter is sending.
        thread = threading.Thread(target=self._provider.shutdown, name="tracing", daemon=True)
        thread.start()
        thread.join(timeout_seconds)


def _exporter() -> SpanExporter | None:
    """The one that the environment names, from those that are installed."""
    name = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if name == "none":
        return None
    if name == "otlp":
        protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL"
        )
        name = "otlp_proto_http" if (protocol or "grpc").startswith("http") else "otlp_proto_grpc"
    found = entry_points(group="opentelemetry_traces_exporter", name=name)
    if not found:
        raise ConfigError(
            f"there is no exporter for traces called {name}",
            where="OTEL_TRACES_EXPORTER and OTEL_EXPORTER_OTLP_PROTOCOL",
            remedy="install it, or choose otlp with grpc, console, or none",
        )
    exporter: SpanExporter = next(iter(found)).load()()
    return exporter


def _parent(traceparent: str) -> Any:
    """The caller's context; an empty one if it sent none, or none that can be."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": traceparent} if traceparent else {}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _attributes(record: CallRecord, known: bool) -> dict[str, str | int | float]:
    """As the semantic conventions name them; ``asr.*`` is ours."""
    given: dict[str, str | int | float] = {
        "rpc.system.name": "grpc",
        "rpc.method": record.method if known else "_OTHER",
        "rpc.response.status_code": record.code.name,
        "error.type": record.code.name if record.code.name in FAULTS else "",
        "asr.request_id": record.request_id,
        "asr.model": record.model,
        "asr.decoder": record.decoder,
        "asr.cause": record.cause,
        "asr.audio_seconds": record.audio_seconds,
        "asr.batch_size": record.batch_size,
    }
    return {key: value for key, value in given.items() if value}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
