"""What Prometheus can ask of the server, in base units and with labels that no client chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from asr.live.endpoint import Reason
from server.pb.v1 import speech_pb2
from server.telemetry.records import CAUSES, STAGES, CallRecord, Stage

__all__ = ["METHODS", "Metrics"]

SERVICE = speech_pb2.DESCRIPTOR.services_by_name["Speech"]
RIVA = ("Recognize", "StreamingRecognize", "GetRivaSpeechRecognitionConfig")  # of its service
METHODS = {
    **{f"{SERVICE.full_name}/{name}": name for name in SERVICE.methods_by_name},
    **{f"nvidia.riva.asr.RivaSpeechRecognition/{name}": name for name in RIVA},
}
OTHER = "other"  # in place of any name that is not known

# Seconds from a short refusal to the longest audio, each step about a doubling.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300, 600)
SIZES = (1, 2, 4, 8, 16, 32, 64)
RATIOS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
WORK: tuple[Stage, ...] = (
    "audio",
    "model",
    "search",
)  # stages in which something is computed; in others calls wait


class Metrics:
    """Counters of one server, in a registry of its own: two servers in a process do not mix.

    May be used from any thread.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(namespace="asr", registry=registry)  # memory, descriptors, start time
        self._models: dict[str, str] = {}
        self._calls = Counter(
            "asr_calls", "Calls that ended, by status", ["method", "code"], registry=registry
        )
        self._refusals = Counter(
            "asr_refusals", "Calls that were not answered, by cause", ["cause"], registry=registry
        )
        self._call_seconds = Histogram(
            "asr_call_seconds",
            "From the start of a call to its end",
            ["method"],
            buckets=SECONDS,
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "asr_stage_seconds",
            "Time of a call in one stage",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._audio_seconds = Counter(
            "asr_audio_seconds", "Audio that was transcribed", ["model"], registry=registry
        )
        self._real_time_factor = Histogram(
            "asr_real_time_factor",
            "Seconds of decoding, network and search for a second of audio",
            ["model"],
            buckets=RATIOS,
            registry=registry,
        )
        self._batch_size = Histogram(
            "asr_batch_size", "Calls in one batch", buckets=SIZES, registry=registry
        )
        self._batch_seconds = Histogram(
            "asr_batch_seconds", "Time of one batch", buckets=SECONDS, registry=registry
        )
        self._live_size = Histogram(
            "asr_live_batch_size",
            "Live streams in one batch of chunks",
            buckets=SIZES,
            registry=registry,
        )
        self._live_seconds = Histogram(
            "asr_live_batch_seconds",
            "Time of one batch of chunks of live streams",
            buckets=SECONDS,
            registry=registry,
        )
        self._chunk_seconds = Histogram(
            "asr_live_chunk_seconds",
            "From when a chunk of a live stream and its look-ahead were heard to its results",
            buckets=SECONDS,
            registry=registry,
        )
        self._finals = Counter(
            "asr_live_finals",
            "Final results of live streams, by why the segment ended",
            ["reason"],
            registry=registry,
        )
        self._words_shown = Counter(
            "asr_live_words_shown", "Words that interim results showed", registry=registry
        )
        self._words_changed = Counter(
            "asr_live_words_changed",
            "Words shown that the final result has not in their place",
            registry=registry,
        )
        self._in_progress = Gauge("asr_calls_in_progress", "Calls under way", registry=registry)
        self._queue = Gauge(
            "asr_queue_length", "Calls that wait, by queue", ["queue"], registry=registry
        )
        self._model_info = Gauge(
            "asr_model_info", "1 for each model", ["model", "fingerprint"], registry=registry
        )
        self._reloads = Counter(
            "asr_model_reloads", "Attempts to load models anew", ["result"], registry=registry
        )
        self._restarts = Counter("asr_worker_restarts", "Audio workers replaced", registry=registry)
        self._show_zeros()

    def _show_zeros(self) -> None:
        """A series that appears with its first event hides that event from `rate`."""
        for cause in filter(None, CAUSES):
            self._refusals.labels(cause)
        for method in METHODS.values():
            self._calls.labels(method, "OK")
            self._call_seconds.labels(method)
        for stage in STAGES:
            self._stage_seconds.labels(stage)
        for reason in get_args(Reason):
            self._finals.labels(reason)
        for result in ("ok", "failed"):
            self._reloads.labels(result)

    def observe(self, record: CallRecord) -> None:
        """Count a call that ended."""
        method = METHODS.get(record.method, OTHER)
        self._calls.labels(method, record.code.name).inc()
        self._call_seconds.labels(method).observe(record.total_seconds)
        if record.cause:
            self._refusals.labels(record.cause if record.cause in CAUSES else OTHER).inc()
        for stage, seconds in record.stages.items():
            self._stage_seconds.labels(stage).observe(seconds)
        if record.code.name == "OK" and record.audio_seconds > 0:
            model = record.model if record.model in self._models else OTHER
            self._audio_seconds.labels(model).inc(record.audio_seconds)
            work = sum(record.stages.get(stage, 0.0) for stage in WORK)
            self._real_time_factor.labels(model).observe(work / record.audio_seconds)

    def observe_batch(self, size: int, seconds: float) -> None:
        """Count a batch of ``size`` calls that the network took ``seconds`` for."""
        self._batch_size.observe(size)
        self._batch_seconds.observe(seconds)

    def observe_live(self, size: int, seconds: float) -> None:
        """Count a batch of chunks of ``size`` live streams that took ``seconds``."""
        self._live_size.observe(size)
        self._live_seconds.observe(seconds)

    def observe_chunk(self, seconds: float) -> None:
        """Count a chunk of a live stream whose results took ``seconds`` since it was heard."""
        self._chunk_seconds.observe(seconds)

    def observe_final(self, reason: Reason, shown: int, changed: int) -> None:
        """Count a final result, and of the words shown before it those that it changed."""
        self._finals.labels(reason).inc()
        self._words_shown.inc(shown)
        self._words_changed.inc(changed)

    def observe_reload(self, *, ok: bool) -> None:
        """Count an attempt to load models anew."""
        self._reloads.labels("ok" if ok else "failed").inc()

    def observe_restart(self) -> None:
        """Count an audio worker that was replaced."""
        self._restarts.inc()

    def set_models(self, fingerprints: Mapping[str, str]) -> None:
        """The models that there are from now on: fingerprints by name."""
        for name, fingerprint in self._models.items():
            if fingerprints.get(name) != fingerprint:
                self._model_info.remove(name, fingerprint)
        self._models = dict(fingerprints)
        for name, fingerprint in self._models.items():
            self._model_info.labels(name, fingerprint).set(1)

    def watch_calls(self, count: Callable[[], float]) -> None:
        """Ask ``count`` for the calls under way, whenever somebody looks."""
        self._in_progress.set_function(count)

    def watch_queue(self, name: str, length: Callable[[], float]) -> None:
        """Ask ``length`` for what waits in a queue, whenever somebody looks."""
        self._queue.labels(name).set_function(length)
