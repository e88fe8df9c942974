"""``asr info``: what a bundle is and what it was made for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asr.bundle import Bundle

__all__ = ["add_info"]


def add_info(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the command's options."""
    parser.description = (
        "Say what a bundle is: its sound, network, tokens, decoder and language, how it reads "
        "streams, and what its makers noted."
    )
    parser.set_defaults(run=_info)
    parser.add_argument(
        "bundle",
        metavar="BUNDLE",
        nargs="?",
        help="folder of the model bundle (default: the model that comes with the toolkit)",
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def _info(options: argparse.Namespace) -> int:
    from asr.bundle import load_bundle
    from asr.bundle.shipped import shipped_bundle

    path = options.bundle if options.bundle is not None else shipped_bundle()
    values = _describe(load_bundle(path), Path(path))
    if options.json:
        print(json.dumps(values, ensure_ascii=False, indent=2))
        return 0
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name:<{width}}  {_to_text(value)}")
    return 0


def _describe(bundle: Bundle, path: Path) -> dict[str, Any]:
    """The bundle's properties as plain values, by the names that they are shown under."""
    from asr.decoding import plain_values

    features, network = bundle.extractor.config, bundle.model.config.network
    language = bundle.language
    return {
        "name": bundle.name,
        "bytes": sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
        "sample_rate": features.sample_rate,
        "features": f"{features.kind}, {features.size} a frame, CMVN by {features.normalisation}",
        "network": f"{network.num_layers} layers of {network.hidden_size} cells, {network.cell}, "
        + ("both directions" if network.bidirectional else "one direction"),
        "weights": sum(weight.numel() for weight in bundle.model.parameters()),
        "milliseconds_per_frame": round(1000 * bundle.seconds_per_frame, 3),
        "tokens": f"{bundle.tokenizer.size} {bundle.tokenizer.kind}",
        "decoder": plain_values(bundle.decoder),
        "language_model": language is not None and language.lm is not None,
        "lexicon": language is not None and language.lexicon is not None,
        "priors": bundle.priors is not None,
        "calibrated": sorted(bundle.calibrations),
        "streaming": _streaming(bundle),
        "latencies": _latencies(bundle),
        "metadata": bundle.metadata,
    }


def _streaming(bundle: Bundle) -> str:
    """What streams the model was trained for, in words."""
    if bundle.streaming is None:
        return "not trained for streams; reads them further ahead"
    ranges = bundle.streaming.chunk_ms, bundle.streaming.look_ahead_ms
    chunk, look_ahead = (f"{low:g} to {high:g} ms" for low, high in ranges)
    return f"trained with chunks of {chunk}, look-ahead {look_ahead}"


def _latencies(bundle: Bundle) -> dict[str, str]:
    """Chunk and look-ahead of each class of latency."""
    from asr.bundle.streaming import LATENCIES

    step = 1000 * bundle.seconds_per_frame
    chunks = {latency: bundle.chunking(latency) for latency in LATENCIES}
    return {
        latency: f"{each.frames * step:g} + {each.look_ahead * step:g} ms"
        for latency, each in chunks.items()
    }


def _to_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_to_text(each)}" for name, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_to_text, value)) or "none"
    return str(value)
