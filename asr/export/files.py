"""What is done with a finished graph: 8 bits, metadata, the file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import onnx
from onnx import helper

from asr.export.chunks import chunks_to_onnx, share_tensors
from asr.export.obstacle import obstacle
from asr.export.whole import to_onnx
from asr.files.write import write_bytes
from asr.nn.model import AcousticModel

if TYPE_CHECKING:
    from asr.bundle import Bundle

__all__ = ["describe_bundle", "make_graph", "quantise", "save_onnx"]


def describe_bundle(bundle: Bundle) -> dict[str, str]:
    """What another runtime needs beside a bundle's graph, for its metadata.

    ``name``; ``token_kind``, whether tokens are characters, phones or subwords; as JSON, ``tokens``
    in the order of V, and ``features`` and ``statistics``, the options and the normalisation of the
    front end.
    """
    statistics = {name: value.tolist() for name, value in bundle.extractor.state_dict().items()}
    return {
        "name": bundle.name,
        "token_kind": bundle.tokenizer.kind,
        "tokens": json.dumps(bundle.tokenizer.tokens, ensure_ascii=False),
        "features": json.dumps(bundle.extractor.config.to_dict()),
        "statistics": json.dumps(statistics),
    }


def quantise(proto: onnx.ModelProto) -> onnx.ModelProto:
    """``proto`` with the layers' matrices in 8 bits, for ONNX Runtime alone.

    Each ``LSTM`` becomes a ``com.microsoft.DynamicQuantizeLSTM``. Its two matrices are rounded
    once, with a scale for each row; what they multiply is rounded at run time, with one scale for
    all frames and utterances of the call. Biases, peepholes, cell states and the output layer stay
    in float32. Two things follow:

    - log-probabilities are off by up to 1e-2 with random weights; what that does to the error rate
      has to be measured for each model (``evaluate --backend onnx-int8``);
    - an utterance's result depends a little on what else is in the batch, padding included: for a
      result of its own give each utterance alone and at its own length.

    Seven of the eight bits are used: on x86 processors without VNNI the sum of two products of full
    8-bit numbers does not fit into the 16 bits it is kept in.
    """
    from onnxruntime.quantization import quantize_dynamic  # only 8 bits need it

    prepared = onnx.ModelProto()
    prepared.CopyFrom(proto)
    properties = {prop.key: prop.value for prop in proto.metadata_props}
    # Else the tool advises, through the root logger, to simplify the graph first.
    helper.set_model_props(prepared, {**properties, "onnx.quant.pre_process": "onnxruntime.quant"})
    with TemporaryDirectory() as folder:  # the tool writes files, and nothing else
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            prepared, path, op_types_to_quantize=["LSTM"], per_channel=True, reduce_range=True
        )
        quantised = onnx.load(path)
    helper.set_model_props(quantised, properties)
    return quantised


def make_graph(
    model: AcousticModel,
    *,
    int8: bool = False,
    chunks: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """The graph of whole utterances, or with ``chunks`` that of streams; quantised if ``int8``.

    Raises:
        ConfigError: see :func:`asr.export.obstacle.obstacle`.
    """
    if error := obstacle(model.config, int8=int8, chunks=chunks):
        raise error
    if not int8:
        return chunks_to_onnx(model, metadata) if chunks else to_onnx(model, metadata)
    whole = chunks_to_onnx(model, metadata, shared=False) if chunks else to_onnx(model, metadata)
    proto = quantise(whole)
    share_tensors(proto)
    return proto


def save_onnx(
    model: AcousticModel,
    path: str | os.PathLike[str],
    *,
    int8: bool = False,
    chunks: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write what :func:`make_graph` gives as a file, checked by ONNX.

    Raises:
        ConfigError: see there.
        OSError: the file cannot be written.
    """
    proto = make_graph(model, int8=int8, chunks=chunks, metadata=metadata)
    onnx.checker.check_model(proto, full_check=True)
    write_bytes(path, proto.SerializeToString())
