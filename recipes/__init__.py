"""Recipes: commands that prepare a corpus, train on it, and evaluate what was trained."""

from asr.spinning import spin_little

spin_little()  # before any of them imports torch
