"""docker/k8s/job.yaml: a job that Kubernetes accepts, whose pods do all of a corpus together."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from asr.cli.main import _parser

FILE = Path(__file__).parents[2] / "docker" / "k8s" / "job.yaml"
JOB = yaml.safe_load(FILE.read_text())
POD = JOB["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_schemas_accept_it(version):
    kubernetes_validate.validate(JOB, version, strict=True)


def test_each_pod_has_a_part_and_all_parts_have_a_pod():
    program, command = CONTAINER["command"]
    assert program == "asr"
    arguments = [argument.replace("$(JOB_COMPLETION_INDEX)", "3") for argument in CONTAINER["args"]]
    options = _parser().parse_args([command, *arguments])
    assert JOB["spec"]["completionMode"] == "Indexed"
    assert options.shard == f"3/{JOB['spec']['completions']}"
    mounts = {
        mount["mountPath"]: mount.get("readOnly", False) for mount in CONTAINER["volumeMounts"]
    }
    assert mounts == {options.bundle: True, options.job: False, "/tmp": False}


def test_a_pod_has_no_rights_and_the_servers_image():
    deployment = yaml.safe_load((FILE.parent / "deployment.yaml").read_text())
    server = deployment["spec"]["template"]["spec"]
    assert POD["securityContext"] == server["securityContext"]
    assert CONTAINER["securityContext"] == server["containers"][0]["securityContext"]
    assert POD["automountServiceAccountToken"] is False
    assert CONTAINER["image"].startswith(f"{server['containers'][0]['image']}:")
    assert POD["restartPolicy"] == "Never"
