"""A whole decode, with times and confidences, beside its search alone, in turns in one thread.

    python -m benchmarks.hypotheses                              # the model that ships, its samples
    python -m benchmarks.hypotheses exp/demo/bundle FOLDER       # another one, other audio

Decoders are the bundle's own, if that is beam search, and beam search by tokens alone. The ratio is
what times, confidences, words and checks cost beside the search: 1 is nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from asr.audio import OWN_RECORDINGS, Recording
from asr.decoding import BeamOptions, make_decoder
from asr.decoding.beam.decoder import BeamDecoder
from asr.decoding.beam.word_decoder import WordDecoder
from asr.machine import describe_machine
from asr.recognizer import Recognizer
from benchmarks.recordings import add_bundle_and_files, chosen_files
from benchmarks.timing import compare, markdown, note

CPU = torch.device("cpu")
SEARCH, WHOLE = "search alone", "`Decoder.decode`"
WIDTHS = (16, 64)  # of the search by tokens alone

Decoder = BeamDecoder | WordDecoder


def main() -> None:
    """Measure what the command line asks for, and print a table."""
    parser = argparse.ArgumentParser(description="A whole decode beside its search.")
    add_bundle_and_files(parser)
    parser.add_argument("--most", type=int, default=50, help="files (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recognizer = Recognizer.load(options.bundle, limits=OWN_RECORDINGS)
    utterances = _log_probs(recognizer, chosen_files(options)[: options.most])
    frames = sum(map(len, utterances))
    print(
        f"{describe_machine(CPU)}. {recognizer.name}: {len(utterances)} files, {frames} frames.\n"
    )
    print("| decoder | search alone, a frame | whole, a frame | ratio |\n| --- | --- | --- | --- |")
    for name, decoder in _decoders(recognizer).items():
        note(f"timing {name}")
        runs = {SEARCH: _searching(decoder, utterances), WHOLE: _deciding(decoder, utterances)}
        seconds = compare(runs, CPU, options.rounds)
        cells = markdown(seconds, WHOLE, 1e3 / frames, "µs")
        print(
            f"| {name} | {cells[SEARCH][0]} | {cells[WHOLE][0]} | {cells[SEARCH][1]} |", flush=True
        )


def _log_probs(recognizer: Recognizer, files: Sequence[str]) -> list[Tensor]:
    found = []
    for file in files:
        log_probs, lengths = recognizer.log_probs([Recording(file, recognizer.limits).read()])
        found.append(log_probs[0, : int(lengths[0])])
    return found


def _decoders(recognizer: Recognizer) -> dict[str, Decoder]:
    bundle, made = recognizer.bundle, {}
    if isinstance(bundle.decoder, BeamOptions):
        made[f"the bundle's own, {bundle.decoder.beam_width} wide"] = (
            bundle.decoder,
            bundle.language,
        )
    for width in WIDTHS:
        made[f"tokens alone, {width} wide"] = BeamOptions(beam_width=width, lm_weight=0.0), None
    return {
        name: make_decoder(options, recognizer.tokenizer, recognizer.seconds_per_frame, language)
        for name, (options, language) in made.items()
    }


def _searching(decoder: Decoder, utterances: Sequence[Tensor]) -> Callable[[], object]:
    frames = [utterance.numpy() for utterance in utterances]

    def run() -> list[str]:
        texts = []
        for each in frames:
            stream = decoder.begin()
            texts.append(stream.text(stream.search(each)[0]))
        return texts

    return run


def _deciding(decoder: Decoder, utterances: Sequence[Tensor]) -> Callable[[], object]:
    batches = [(each[None], torch.tensor([len(each)])) for each in utterances]
    return lambda: [decoder.decode(*batch)[0][0].text for batch in batches]


if __name__ == "__main__":
    main()
