"""The acoustic model as an ONNX graph in which every layer is an operator of ONNX's own.

ONNX's ``LSTM`` has what the cells here need: diagonal peepholes (its input P), a length for each
utterance (``sequence_lens``), and a forget gate that is 1 - i (``input_forget``). So the graphs are
written by hand from the weights: :mod:`asr.export.whole` for whole utterances, in which a stack of
three layers has three recurrent nodes, and :mod:`asr.export.chunks` for streams.
"""

from __future__ import annotations

import os

# ONNX Runtime, from 1.32 on, reports its use to its makers unless told not to before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
