"""``asr export``: the acoustic model as an ONNX file."""

from __future__ import annotations

import argparse

from asr.cli.results import inputs_of
from asr.files.write import check_target, check_writable

__all__ = ["add_export"]


def add_export(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the command's options."""
    parser.description = (
        "Write a bundle's acoustic model, features to log-probabilities, as an ONNX file for other "
        "runtimes. Its metadata hold the tokens, and the front end's options and statistics. The "
        "file's own description says what its inputs and outputs are."
    )
    parser.set_defaults(run=_export)
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of the model bundle")
    parser.add_argument("--output", metavar="ONNX", required=True, help="file to write")
    parser.add_argument(
        "--int8", action="store_true", help="with 8-bit matrices, which ONNX Runtime alone can read"
    )
    parser.add_argument(
        "--streaming",
        action="store_true",
        help="the graph of streams: a chunk and its look-ahead, states as inputs and outputs",
    )


def _export(options: argparse.Namespace) -> int:
    from asr.bundle import load_bundle
    from asr.export.files import describe_bundle, save_onnx

    check_target(options.output, inputs_of(options))
    check_writable(options.output)
    bundle = load_bundle(options.bundle)
    save_onnx(
        bundle.model,
        options.output,
        int8=options.int8,
        chunks=options.streaming,
        metadata=describe_bundle(bundle),
    )
    return 0
