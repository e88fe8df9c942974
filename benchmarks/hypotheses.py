"""A whole decode, with times and confidences, beside its search alone, in turns in one thread.

    python -m benchmarks.hypotheses                              # the model that ships, its samples
    python -m benchmarks.hypotheses exp/demo/bundle FOLDER       # another one, other audio

Decoders are the bundle's own, if that is beam search, and beam search by tokens alone. The ratio is
what times, confidences, words and checks cost beside the search: 1 is nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from asr.audio import OWN_RECORDINGS, Recording
from asr.decoding import BeamOptions, make_decoder
from asr.decoding.beam.decoder import BeamDecoder
from asr.decoding.beam.word_decoder import WordDecoder
from asr.decoding.priors import Division
from asr.decoding.spans import quiet_tokens
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
    for name, (decoder, heard) in _decoders(recognizer, utterances).items():
        note(f"timing {name}")
        runs = {SEARCH: _searching(decoder, heard), WHOLE: _deciding(decoder, heard)}
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


def _decoders(
    recognizer: Recognizer, utterances: Sequence[Tensor]
) -> dict[str, tuple[Decoder, Sequence[Tensor]]]:
    """Decoders and what each is given: the bundle's own has its priors divided out beforehand."""
    bundle, seconds = recognizer.bundle, recognizer.seconds_per_frame
    made = {}
    if isinstance(bundle.decoder, BeamOptions):
        options, heard = replace(bundle.decoder, prior_weight=0.0), utterances
        if bundle.decoder.prior_weight:
            assert bundle.priors is not None
            quiet = tuple(quiet_tokens(bundle.tokenizer))
            divide = Division(bundle.priors, bundle.decoder.prior_weight, quiet, seconds)
            heard = [divide(utterance)[0] for utterance in utterances]
        own = make_decoder(options, bundle.tokenizer, seconds, bundle.language)
        made[f"the bundle's own, {options.beam_width} wide"] = own, heard
    for width in WIDTHS:
        options = BeamOptions(beam_width=width, lm_weight=0.0)
        alone = make_decoder(options, bundle.tokenizer, seconds)
        made[f"tokens alone, {width} wide"] = alone, utterances
    return made


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
