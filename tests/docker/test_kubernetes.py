"""docker/k8s: objects that Kubernetes accepts and that start a server without rights."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import ValidationError

from server.command import _parser
from server.limits import DEFAULT_PORT
from server.transport.health import SERVICES

K8S = Path(__file__).parents[2] / "docker" / "k8s"
COMPONENTS = tuple(sorted(path.name for path in (K8S / "components").iterdir()))
VERSIONS = ("1.30", "1.37")
# Each alone, and those together that people would combine.
OVERLAYS = [(), *((name,) for name in COMPONENTS), ("models", "tls"), COMPONENTS]


def named(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (item,) = (one for one in objects if one["kind"] == kind)
    return item


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = named(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("components", OVERLAYS, ids="+".join)
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_schemas_accept_every_object(render, components, version):
    objects = render(*components)
    kinds = {item["kind"] for item in objects}
    assert kinds == {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
    for item in objects:
        kubernetes_validate.validate(item, version, strict=True)


def test_the_schemas_would_notice_a_mistake(render):
    objects = render()
    pod(objects)["containers"][0]["readinessProbe"]["grpc"]["prot"] = 1
    with pytest.raises(ValidationError):
        kubernetes_validate.validate(named(objects, "Deployment"), VERSIONS[-1], strict=True)


@pytest.mark.parametrize("components", OVERLAYS, ids="+".join)
def test_kustomize_prints_the_same(render, components, tmp_path):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    shutil.copytree(K8S, tmp_path / "k8s")
    file = tmp_path / "k8s" / "kustomization.yaml"
    listed = json.dumps([f"components/{name}" for name in components])
    file.write_text(file.read_text().replace("components: []", f"components: {listed}"))
    command = [kubectl, "kustomize", str(file.parent)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def key(item: dict[str, Any]) -> str:
        return str(item["kind"])

    assert sorted(yaml.safe_load_all(printed), key=key) == sorted(render(*components), key=key)


@pytest.mark.parametrize("components", OVERLAYS, ids="+".join)
def test_a_pod_has_no_rights_and_writes_nowhere_but_tmp(render, components):
    spec = pod(render(*components))
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    writable = [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")]
    assert writable == ["/tmp"]
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("components", OVERLAYS, ids="+".join)
def test_the_server_understands_what_a_pod_tells_it(render, components):
    spec = pod(render(*components))
    (container,) = spec["containers"]
    options = _parser().parse_args(container["args"])
    assert options.insecure is ("tls" not in components)
    assert bool(options.tls_certificate and options.tls_key) is ("tls" in components)
    assert (options.model is None) is ("models" in components)
    assert (options.device == "cuda") is ("gpu" in components)
    (pause,) = container["lifecycle"]["preStop"]["exec"]["command"][1:]
    assert spec["terminationGracePeriodSeconds"] >= options.grace_seconds + float(pause) + 10
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": DEFAULT_PORT, "metrics": options.metrics_port}
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container[kind]
        if "tls" in components:
            assert probe["exec"]["command"][:3] == ["python", "-m", "server.probe"]
        else:
            assert probe["grpc"]["port"] == DEFAULT_PORT
            assert probe["grpc"].get("service", "") in SERVICES


def test_the_service_has_no_address_of_its_own_and_finds_the_pods(render):
    objects = render()
    labels = named(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    service = named(objects, "Service")["spec"]
    assert service["clusterIP"] == "None", "or one pod would get all calls of a client"
    for selector in (
        service["selector"],
        named(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        named(objects, "Deployment")["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
