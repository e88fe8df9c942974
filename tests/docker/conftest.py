"""As much of kustomize as docker/k8s uses: resources, components, JSON patches, images."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Object = dict[str, Any]

K8S = Path(__file__).parents[2] / "docker" / "k8s"
KNOWN = {"apiVersion", "kind", "resources", "components", "patches", "images"}


@pytest.fixture
def render() -> Callable[..., list[Object]]:
    """The objects that ``kubectl kustomize docker/k8s`` would print, in the order of their files.

    Its arguments are the components to add, by name.
    """
    return _render


def _render(*components: str) -> list[Object]:
    kustomization = _read(K8S)
    objects = [yaml.safe_load((K8S / name).read_text()) for name in kustomization["resources"]]
    for component in components:
        for entry in _read(K8S / "components" / component)["patches"]:
            _patch(objects, entry)
    for item in objects:
        for container in _containers(item):
            for image in kustomization["images"]:
                if container["image"] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"
    return objects


def _read(folder: Path) -> Object:
    kustomization: Object = yaml.safe_load((folder / "kustomization.yaml").read_text())
    unknown = set(kustomization) - KNOWN
    assert not unknown, f"{folder}: this test does not know {unknown}"
    return kustomization


def _containers(item: Object) -> list[Object]:
    template = item["spec"].get("template", {"spec": {"containers": []}})
    containers: list[Object] = template["spec"]["containers"]
    return containers


def _patch(objects: list[Object], entry: Object) -> None:
    target = entry["target"]
    (item,) = (
        one
        for one in objects
        if (one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"])
    )
    for operation in yaml.safe_load(entry["patch"]):
        _operate(item, operation)


def _operate(item: Any, operation: Object) -> None:
    """One operation of RFC 6902; what is not there is an error, as it is for kustomize."""
    *parents, last = operation["path"].strip("/").split("/")
    for parent in parents:
        item = item[int(parent) if isinstance(item, list) else parent]
    kind, value = operation["op"], copy.deepcopy(operation.get("value"))
    if isinstance(item, list) and last == "-":
        assert kind == "add"
        item.append(value)
        return
    key = int(last) if isinstance(item, list) else last
    if kind == "test":
        assert item[key] == value, f"{operation['path']} is {item[key]}"
    elif kind == "remove":
        del item[key]
    elif kind == "replace":
        item[key]  # has to be there
        item[key] = value
    else:
        assert kind == "add"
        assert isinstance(item, dict)
        item[key] = value
