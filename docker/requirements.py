"""Prints the dependencies of pyproject.toml and of the extras named: a layer of their own."""

import sys

import tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = project["optional-dependencies"]
print(
    "\n".join([*project["dependencies"], *(line for name in sys.argv[1:] for line in extras[name])])
)
