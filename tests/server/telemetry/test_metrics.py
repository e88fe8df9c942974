"""Metrics tell what happened, in a form Prometheus reads, and no client can do them harm."""

from __future__ import annotations

import re
import socket
import threading
from http.client import HTTPConnection
from urllib.request import Request, urlopen

import grpc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from asr.types import ConfigError
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub
from server.telemetry import metrics_http
from server.telemetry.flicker import ShownWords
from server.telemetry.metrics import METHODS, Metrics
from server.telemetry.metrics_http import CONNECTIONS, SILENCE_SECONDS, MetricsServer
from server.telemetry.records import CAUSES, STAGES, CallRecord
from server.transport.call_log import CallLog

CODE = grpc.StatusCode


def record_of(**more) -> CallRecord:
    record = CallRecord("asr.v1.Speech/Transcribe", "id", **more)
    record.finish()
    return record


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def http(metrics):
    server = MetricsServer(metrics.registry)
    server.start()
    yield server
    server.stop()


def scrape(http: MetricsServer) -> str:
    with urlopen(f"http://127.0.0.1:{http.port}/metrics", timeout=20) as answer:
        return answer.read().decode()


@pytest.fixture
def samples(http):
    """What Prometheus' own parser reads: values by name and labels, in the order of their keys."""

    def read() -> dict[tuple[str, ...], float]:
        return {
            (sample.name, *(sample.labels[key] for key in sorted(sample.labels))): sample.value
            for family in text_string_to_metric_families(scrape(http))
            for sample in family.samples
        }

    return read


def test_a_call_is_counted_everywhere(metrics, samples):
    metrics.set_models({"tiny": "ab12"})
    record = record_of(model="tiny", audio_seconds=10.0, batch_size=2)
    for stage, seconds in (("audio", 0.25), ("batch", 3.0), ("model", 0.5), ("search", 0.25)):
        record.spent(stage, seconds)
    record.total_seconds = 4.0
    metrics.observe(record)
    metrics.observe_batch(2, 0.5)
    found = samples()
    assert found["asr_calls_total", "OK", "Transcribe"] == 1
    assert found["asr_call_seconds_sum", "Transcribe"] == 4.0
    assert found["asr_call_seconds_bucket", "2.5", "Transcribe"] == 0
    assert found["asr_call_seconds_bucket", "5.0", "Transcribe"] == 1
    assert found["asr_stage_seconds_sum", "batch"] == 3.0
    assert found["asr_audio_seconds_total", "tiny"] == 10.0
    assert found["asr_real_time_factor_sum", "tiny"] == pytest.approx(0.1)  # waiting left out
    assert found["asr_batch_size_sum",] == 2
    assert found["asr_batch_seconds_sum",] == 0.5
    assert found["asr_model_info", "ab12", "tiny"] == 1


def test_live_streams_are_counted(metrics, samples):
    metrics.observe_chunk(0.2)
    metrics.observe_chunk(0.05)
    metrics.observe_final("rule2", 10, 3)
    metrics.observe_final("finished", 4, 0)
    found = samples()
    assert found[("asr_live_chunk_seconds_sum",)] == 0.25
    assert found["asr_live_chunk_seconds_bucket", "0.1"] == 1
    assert (
        found["asr_live_finals_total", "rule2"] == found["asr_live_finals_total", "finished"] == 1
    )
    assert found["asr_live_finals_total", "forced"] == 0
    assert found[("asr_live_words_shown_total",)] == 14
    assert found[("asr_live_words_changed_total",)] == 3


def test_a_word_shown_in_two_ways_counts_twice_and_changes_once():
    shown = ShownWords()
    for text in ("", "the", "the cad", "the cat", "the cat sad"):
        shown.show(text)
    assert shown.settle("the cat sat down") == (4, 2)
    shown.show("on")
    assert shown.settle("") == (1, 1)
    assert shown.settle("a mat") == (0, 0)


def test_a_refusal_is_counted_by_cause_and_its_audio_is_not(metrics, samples):
    metrics.observe(
        record_of(code=CODE.RESOURCE_EXHAUSTED, cause="full", audio_seconds=5.0, model="tiny")
    )
    found = samples()
    assert found["asr_calls_total", "RESOURCE_EXHAUSTED", "Transcribe"] == 1
    assert found["asr_refusals_total", "full"] == 1
    assert not any(key[0] == "asr_audio_seconds_total" for key in found)


def test_every_cause_stage_and_method_is_there_before_it_happens(samples):
    found = samples()
    assert all(found["asr_refusals_total", cause] == 0 for cause in CAUSES if cause)
    assert all(found["asr_stage_seconds_count", stage] == 0 for stage in STAGES)
    assert all(found["asr_calls_total", "OK", method] == 0 for method in METHODS.values())
    assert "Transcribe" in METHODS.values()


def test_gauges_are_asked_when_somebody_looks(metrics, samples):
    waiting = [1, 2, 3]
    metrics.watch_queue("batches", lambda: len(waiting))
    metrics.watch_calls(lambda: len(waiting) + 1)
    assert samples()["asr_queue_length", "batches"] == 3
    waiting.clear()
    found = samples()
    assert (found["asr_queue_length", "batches"], found["asr_calls_in_progress",]) == (0, 1)


def test_models_reloads_and_restarts(metrics, samples):
    metrics.set_models({"a": "1", "b": "2"})
    metrics.set_models({"a": "3", "b": "2"})
    metrics.observe_reload(ok=True)
    metrics.observe_reload(ok=False)
    metrics.observe_restart()
    found = samples()
    models = {key[1:] for key in found if key[0] == "asr_model_info"}
    assert models == {("3", "a"), ("2", "b")}
    assert found["asr_model_reloads_total", "ok"] == found["asr_model_reloads_total", "failed"] == 1
    assert found["asr_worker_restarts_total",] == 1
    assert found["asr_process_resident_memory_bytes",] > 1e6
    assert found["asr_process_start_time_seconds",] > 1e9


def test_names_are_prometheus_names_in_base_units(metrics, http):
    metrics.observe(record_of())
    families = list(text_string_to_metric_families(scrape(http)))
    assert len(families) > 15
    for family in families:
        assert re.fullmatch("asr_[a-z_]+", family.name), family.name
        assert not re.search("_(ms|millis|mb|kb|minutes|percent)$", family.name), family.name
        assert family.documentation


def ask(http: MetricsServer, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", http.port, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    page = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return page


@pytest.mark.parametrize(
    "path", ["/", "/metric", "/metrics/", "/metrics/x", "/health", "/x?/metrics"]
)
def test_metrics_are_at_one_path(http, path):
    for method in ("GET", "HEAD"):
        status, _, body = ask(http, method, path)
        assert status == 404
        assert b"asr_" not in body
        assert (b"/metrics" in body) == (method == "GET")


@pytest.mark.parametrize("path", ["/metrics", "/metrics?name[]=asr_calls_total"])
def test_the_head_is_that_of_the_page(http, path):
    status, headers, page = ask(http, "GET", path)
    assert status == 200
    assert b"asr_calls_total" in page
    head = ask(http, "HEAD", path)
    assert (head[0], head[2]) == (200, b"")
    assert head[1]["Content-Type"] == headers["Content-Type"]
    assert head[1].keys() == headers.keys()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_metrics_can_be_read_and_no_more(http, method):
    status, headers, body = ask(http, method, "/metrics")
    assert (status, headers["Allow"], body) == (405, "GET, HEAD", b"")


def test_openmetrics_is_spoken_too(metrics, http):
    request = Request(
        f"http://127.0.0.1:{http.port}/metrics",
        headers={"Accept": "application/openmetrics-text; version=1.0.0"},
    )
    with urlopen(request, timeout=20) as answer:
        names = {family.name for family in parse_openmetrics(answer.read().decode())}
    assert "asr_calls" in names


def test_no_client_chooses_a_label(metrics, samples):
    """A thousand inventions, and no more series than before the second one."""
    metrics.set_models({"tiny": "1"})

    def invent(number: int) -> None:
        record = record_of(model=f"m{number}", decoder=f"d{number}", audio_seconds=1.0)
        record.method, record.request_id = f"asr.v1.Speech/M{number}", f"id{number}"
        record.traceparent = f"00-{number:032x}-{number:016x}-01"
        metrics.observe(record)

    invent(0)
    before = set(samples())
    for number in range(1, 1000):
        invent(number)
    assert set(samples()) == before
    assert ("asr_audio_seconds_total", "other") in before


def test_two_servers_do_not_mix(metrics, samples):
    Metrics().observe(record_of())
    assert samples()["asr_calls_total", "OK", "Transcribe"] == 0


def test_calls_of_a_server_are_counted(serve, metrics, samples):
    call_log = CallLog([metrics.observe])
    metrics.watch_calls(lambda: call_log.active)
    with serve([call_log]) as serving, serving.connect() as channel:
        for _ in range(3):
            SpeechStub(channel).Transcribe(pb.TranscribeRequest(), timeout=20)
    found = samples()
    assert found["asr_calls_total", "OK", "Transcribe"] == 3
    assert found["asr_calls_in_progress",] == 0


def test_an_occupied_port_is_a_mistake_that_can_be_mended(metrics, http):
    for port in (http.port, 70000):
        with pytest.raises(ConfigError, match="metrics cannot be served") as caught:
            MetricsServer(metrics.registry, port=port)
        assert caught.value.where == f"127.0.0.1:{port}"
        assert caught.value.remedy
    with pytest.raises(ConfigError):
        MetricsServer(metrics.registry, host="192.0.2.1")  # of nobody


def test_only_this_machine_can_ask_by_default(http):
    assert http._server.server_address[0] == "127.0.0.1"


def test_the_port_is_free_after_a_stop(metrics):
    server = MetricsServer(metrics.registry)
    server.stop()  # not even started
    again = MetricsServer(metrics.registry, port=server.port)
    again.start()
    assert "asr_" in scrape(again)
    again.stop()
    MetricsServer(metrics.registry, port=server.port).stop()


RUBBISH = (
    b"",
    b"\r\n",
    b"\x16\x03\x01" + bytes(200),
    b"GET " + b"a" * 100_000,
    b"X / HTTP/1.1\r\n\r\n",
)


def test_silent_and_babbling_clients_do_not_keep_others_out(http, capfd, monkeypatch):
    """Ten times as many as there is room for, half of them in the middle of a request."""
    monkeypatch.setattr(metrics_http._Handler, "timeout", 60)  # not what ends them here
    threads = threading.active_count()
    clients = []
    for number in range(CONNECTIONS * 10):
        client = socket.create_connection(("127.0.0.1", http.port), timeout=20)
        clients.append(client)
        client.sendall(b"GET /metrics HT" if number % 2 else RUBBISH[number // 2 % len(RUBBISH)])
    assert "asr_calls_total" in scrape(http)
    ended = sum(is_over(client) for client in clients[: -2 * CONNECTIONS])
    assert ended == len(clients) - 2 * CONNECTIONS, "the oldest had to go"
    assert threading.active_count() <= threads + 2 * CONNECTIONS
    for client in clients:
        client.close()
    assert "asr_calls_total" in scrape(http)
    assert capfd.readouterr().err == ""


def test_a_client_that_says_nothing_is_let_go(metrics, monkeypatch):
    assert metrics_http._Handler.timeout == SILENCE_SECONDS <= 10
    monkeypatch.setattr(metrics_http._Handler, "timeout", 0.2)
    server = MetricsServer(metrics.registry)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        assert is_over(client)
    server.stop()


def test_a_stop_does_not_wait_for_clients(metrics, monkeypatch):
    monkeypatch.setattr(metrics_http._Handler, "timeout", 60)
    server = MetricsServer(metrics.registry)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"GET /metrics HT")
        scrape(server)  # so that the one before was accepted
        server.stop()
        assert is_over(client)


def is_over(client: socket.socket) -> bool:
    """Whether the server ends the connection, before the test's own patience does."""
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    return True
