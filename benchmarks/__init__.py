"""Measurements beside peers; each module is a program."""

from asr.spinning import spin_little

spin_little()  # before torch is imported, as programs of ours do
