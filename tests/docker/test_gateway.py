"""The gateway in containers: beside the server, without rights, with keys by secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from server.http.command import _options, _parser
from server.http.options import GatewayOptions
from server.http.probe import _parser as probe_parser

DOCKER = Path(__file__).parents[2] / "docker"
FOLDER = DOCKER / "k8s" / "gateway"
OBJECTS: dict[str, Any] = {
    item["kind"]: item
    for name in yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    for item in [yaml.safe_load((FOLDER / name).read_text())]
}
POD = OBJECTS["Deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
STARTS = ["env", "--block-signal=HUP,INT,TERM", "asr-gateway"]


def compose(name: str) -> dict[str, Any]:
    file: dict[str, Any] = yaml.safe_load((DOCKER / name).read_text())
    return file


def understood(arguments: list[str]) -> GatewayOptions:
    """What the gateway makes of ``arguments``."""
    return _options(_parser().parse_args(arguments))


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_schemas_accept_every_object(version):
    assert set(OBJECTS) == {"Deployment", "Service", "PodDisruptionBudget"}
    for item in OBJECTS.values():
        kubernetes_validate.validate(item, version, strict=True)


def test_a_pod_has_no_more_rights_than_the_servers():
    deployment = yaml.safe_load((DOCKER / "k8s" / "deployment.yaml").read_text())
    server = deployment["spec"]["template"]["spec"]
    assert POD["securityContext"] == server["securityContext"]
    assert CONTAINER["securityContext"] == server["containers"][0]["securityContext"]
    assert POD["automountServiceAccountToken"] is False
    assert CONTAINER["image"] == server["containers"][0]["image"]
    writable = [m["mountPath"] for m in CONTAINER["volumeMounts"] if not m.get("readOnly")]
    assert writable == ["/tmp"]


def test_a_pod_finds_servers_and_keys():
    options = understood(CONTAINER["args"])
    assert CONTAINER["command"] == STARTS
    service = yaml.safe_load((DOCKER / "k8s" / "service.yaml").read_text())
    [port] = [port["port"] for port in service["spec"]["ports"] if port["name"] == "grpc"]
    assert options.address == f"dns:///{service['metadata']['name']}:{port}"
    [mount] = [mount for mount in CONTAINER["volumeMounts"] if mount["name"] == "keys"]
    assert options.listen.token_file == Path(mount["mountPath"], "keys")
    [volume] = [volume for volume in POD["volumes"] if volume["name"] == "keys"]
    assert volume["secret"]["secretName"] in (FOLDER / "kustomization.yaml").read_text()
    assert {"http": options.listen.port, "metrics": options.metrics_port} == PORTS


def test_probes_ask_for_the_server_where_traffic_is_meant_and_not_where_a_restart_is():
    assert CONTAINER["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert CONTAINER["livenessProbe"]["tcpSocket"] == {"port": "http"}
    options = understood(CONTAINER["args"])
    (pause,) = CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1:]
    least = options.grace_seconds + float(pause) + 10
    assert POD["terminationGracePeriodSeconds"] >= least


def test_the_service_finds_the_pods_and_keeps_the_metrics_within():
    labels = OBJECTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    service = OBJECTS["Service"]["spec"]
    for selector in (
        service["selector"],
        OBJECTS["Deployment"]["spec"]["selector"]["matchLabels"],
        OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector == labels
    assert [port["targetPort"] for port in service["ports"]] == ["http"]
    notes = OBJECTS["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert notes["prometheus.io/port"] == str(PORTS["metrics"])


def test_compose_starts_a_gateway_that_is_watched_and_local():
    services = compose("compose.yaml")["services"]
    gateway = services["gateway"]
    options = understood(gateway["command"])
    assert gateway["entrypoint"] == STARTS
    assert gateway["image"] == services["server"]["image"]
    [alias] = services["server"]["networks"]["default"]["aliases"]
    assert options.address == f"dns:///{alias}:50051"
    [port] = gateway["ports"]
    assert port.startswith("${LISTEN_GATEWAY:-127.0.0.1}:")
    assert port.endswith(f":{options.listen.port}")
    assert float(gateway["stop_grace_period"].removesuffix("s")) > options.grace_seconds
    program = gateway["healthcheck"]["test"]
    assert program[:4] == ["CMD", "python", "-m", "server.http.probe"]
    assert probe_parser().parse_args(program[4:]).port == options.listen.port


def test_keys_are_a_secret_of_compose():
    file = compose("compose.keys.yaml")
    gateway = file["services"]["gateway"]
    [secret] = gateway["secrets"]
    assert secret in file["secrets"]
    options = understood(gateway["command"])
    assert options.listen.token_file == Path("/run/secrets", secret)
    without = [part for part in gateway["command"] if not part.startswith("--api-keys")]
    assert without == compose("compose.yaml")["services"]["gateway"]["command"]


def test_prometheus_finds_the_gateway():
    jobs = compose("monitoring/prometheus.yml")["scrape_configs"]
    [found] = [job for job in jobs if job["job_name"] == "peephole-asr-gateway"]
    [place] = found["dns_sd_configs"]
    gateway = compose("compose.yaml")["services"]["gateway"]
    assert place["names"] == gateway["networks"]["default"]["aliases"]
    assert place["port"] == understood(gateway["command"]).metrics_port
