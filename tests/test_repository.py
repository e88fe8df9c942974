"""What a newcomer relies on: commands that exist, metadata and documents that agree."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import find_namespace_packages

import asr

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md")
PAGES = sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))
CARDS = sorted(
    page.relative_to(ROOT).as_posix()
    for folder in ("models", "recipes")
    for page in (ROOT / folder).rglob("*.md")
    if page.name != "card.md"  # of which a card is made elsewhere
)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SCRIPTS: dict[str, str] = PYPROJECT["project"]["scripts"]


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_the_commands_are_named() -> None:
    assert set(SCRIPTS) == {"asr", "asr-server", "asr-client", "asr-gateway"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_console_script_resolves(name: str) -> None:
    assert callable(EntryPoint(name, SCRIPTS[name], "console_scripts").load())


def test_only_asr_and_server_are_installed() -> None:
    include = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = find_namespace_packages(str(ROOT), include=include)
    assert {name.partition(".")[0] for name in packages} == {"asr", "server"}


def test_version_is_in_the_changelog() -> None:
    [version, *_] = re.findall(r"^## \[(.+?)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert version == asr.__version__


def test_licence_is_the_one_named() -> None:
    assert PYPROJECT["project"]["license"] == {"text": "Apache-2.0"}
    assert "Apache License\n                           Version 2.0" in read("LICENSE")


def declared() -> dict[str, list[Requirement]]:
    """Direct dependencies, extras too, by canonical name; without torch, which comes first."""
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    requirements: dict[str, list[Requirement]] = {}
    for text in [*project["dependencies"], *(one for extra in extras for one in extra)]:
        requirement = Requirement(text)
        requirements.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return {k: v for k, v in requirements.items() if k not in ("torch", "peephole-asr")}


def pinned() -> dict[str, str]:
    """Versions of ``constraints.txt`` by canonical name."""
    lines = (line.partition("#")[0].strip() for line in read("constraints.txt").splitlines())
    pins = [Requirement(line) for line in lines if line]
    for pin in pins:
        assert [part.operator for part in pin.specifier] == ["=="], pin
        assert str(pin.marker) == 'python_version >= "3.11"', pin
    return {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_no_peer_keeps_a_supported_python_from_the_tests(version: str) -> None:
    """flashlight-text has wheels of Python up to 3.12, and no source that builds by itself."""
    [flashlight] = declared()["flashlight-text"]
    assert flashlight.marker is not None
    assert flashlight.marker.evaluate({"python_version": version}) == (version != "3.13")


def test_constraints_pin_every_dependency_within_its_range() -> None:
    pins = pinned()
    assert "torch" not in pins
    for name, requirements in declared().items():
        assert name in pins, f"{name} is not in constraints.txt"
        for requirement in requirements:
            assert requirement.specifier.contains(pins[name]), f"{requirement}: {pins[name]}"


def test_one_torch_version_everywhere() -> None:
    [version] = re.findall(r"^TORCH_VERSION := (\S+)", read("Makefile"), re.MULTILINE)
    [image] = re.findall(r"^ARG TORCH_VERSION=(\S+)", read("docker/Dockerfile"), re.MULTILINE)
    assert image == version
    [torch] = [
        r for r in map(Requirement, PYPROJECT["project"]["dependencies"]) if r.name == "torch"
    ]
    assert torch.specifier.contains(version)


def test_the_caps_of_the_metadata_and_the_makefile_agree() -> None:
    assert PYPROJECT["project"]["requires-python"] == ">=3.10,<3.14"
    assert "(3, 10) <= sys.version_info[:2] <= (3, 13)" in read("Makefile")


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES])
def test_documents_name_make_targets_that_exist(document: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", read("Makefile"), re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z][a-z-]*)", read(document), re.MULTILINE)
    assert named or document in PAGES
    assert set(named) <= targets


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES])
def test_documents_name_files_and_recipes_that_exist(document: str) -> None:
    text = read(document)
    files = re.findall(
        r"`((?:asr|benchmarks|docker|docs|proto|recipes|server|tests)/[\w./-]*\w)`", text
    )
    modules = [
        ROOT / name.replace(".", "/")
        for name in re.findall(r"-m ((?:recipes|benchmarks)\.[a-z][\w.]*\w)", text)
    ]
    assert files or document in PAGES
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert [
        module
        for module in modules
        if not (module.with_suffix(".py").exists() or (module / "__main__.py").exists())
    ] == []


def test_the_index_has_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w.-]+\.md)\)", read("docs/README.md")))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


def anchors(document: Path) -> set[str]:
    """Of the headings: in lower case, without punctuation, spaces as hyphens."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES, *CARDS])
def test_links_lead_somewhere(document: str) -> None:
    folder = (ROOT / document).parent
    for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", read(document)):
        target = folder / link if link else ROOT / document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), f"{link}#{anchor}"
