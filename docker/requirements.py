"""Prints the dependencies of pyproject.toml, or of one of its extras: a layer of their own."""

import sys

import tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = project["optional-dependencies"]
print("\n".join(extras[sys.argv[1]] if len(sys.argv) > 1 else project["dependencies"]))
