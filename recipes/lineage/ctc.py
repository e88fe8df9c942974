"""CTC: sums over paths that need no segmentation, and outputs that become spikes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import dedent
from typing import Any

from asr.nn.model import AcousticModel
from recipes.lineage.ctc_measures import (
    decoding,
    exactness,
    framewise,
    spikes,
    stages,
    two_frames,
)
from recipes.lineage.ctc_nets import Floats, Plan, learn, log_probs
from recipes.lineage.ctc_picture import Shown, draw
from recipes.lineage.ctc_speech import Corpus, Spoken, timit, tones
from recipes.lineage.experiment import Experiment, Result, Settings
from recipes.lineage.statistics import share

__all__ = ["EXPERIMENT"]

FULL = Plan()
REDUCED = Plan(
    exact_cases=20,
    seeds=1,
    train=40,
    held_out=8,
    cells=32,
    epochs=30,
    framewise_epochs=10,
    learning_rate=1e-2,
)
SHOWN_SEED = 0
EXACT = 1e-10  # greatest difference from enumeration
SPIKY = 0.5  # least share of frames that are the blank's
BLANK = 0.6  # of the two frames, where the best path is empty


def run(settings: Settings) -> Result:
    """Check the sums, train both networks with every seed, and compare."""
    plan = REDUCED if settings.reduced else FULL
    corpus = None if settings.reduced else timit(plan.train, plan.held_out)
    if corpus is None:
        corpus = tones(plan.train, plan.held_out)
    exact = exactness(plan.exact_cases)
    by_seed, shown = [], None
    for seed in range(plan.seeds):
        numbers, seen = _one_seed(corpus, plan, seed, settings)
        by_seed.append(numbers)
        if seed == SHOWN_SEED:
            shown = seen
    numbers = {
        "speech": {
            "corpus": corpus.title,
            "train": len(corpus.train),
            "held_out": len(corpus.held_out),
            "shown": {"held_out": shown.held_out.id, "learnt": shown.learnt.id},
        },
        "exactness": exact,
        "two_frames": two_frames(BLANK),
        "seeds": by_seed,
    }
    numbers["criteria"] = criteria(numbers)
    holds = all(numbers["criteria"].values())
    return Result(holds, _verdict(numbers), numbers, draw(corpus.title, shown, by_seed))


def _shortest(utterances: Sequence[Spoken]) -> Spoken:
    """The one to draw: chosen by what it is, before anything is known of the outputs."""
    return min(utterances, key=lambda utterance: (len(utterance.features), utterance.id))


def _one_seed(
    corpus: Corpus, plan: Plan, seed: int, settings: Settings
) -> tuple[dict[str, Any], Shown]:
    learnt, held_out = _shortest(corpus.train), _shortest(corpus.held_out)
    course: list[Floats] = []

    def look(net: AcousticModel) -> None:
        course.append(log_probs(net, learnt))
        settings.advance(f"seed {seed}, CTC")

    by_ctc = learn(corpus, plan, seed, ctc=True, look=look)
    by_frame = learn(
        corpus,
        plan,
        seed,
        ctc=False,
        look=lambda net: settings.advance(f"seed {seed}, framewise"),
    )
    outputs = [[log_probs(net, u) for u in corpus.held_out] for net in (by_ctc, by_frame)]
    numbers = {
        "ctc": spikes(outputs[0], corpus.held_out),
        "framewise": framewise(outputs[1], corpus.held_out),
        "error_signal": stages(course, learnt),
        "decoding": decoding(outputs[0], corpus.held_out, plan.beam_width),
    }
    drawn = log_probs(by_frame, held_out), log_probs(by_ctc, held_out)
    return numbers, Shown(seed, corpus.tokens, held_out, *drawn, learnt, course)


# Judgement


def criteria(numbers: Mapping[str, Any]) -> dict[str, bool]:
    """What must hold, in every seed."""
    seeds = numbers["seeds"]
    signals = [_at_stages(each["error_signal"]) for each in seeds]
    toy = numbers["two_frames"]
    return {
        "exact": max(numbers["exactness"]["worst"].values()) < EXACT
        and numbers["exactness"]["impossible"] == numbers["exactness"]["cases"],
        "spikes": all(each["ctc"]["blank_share"] > SPIKY for each in seeds),
        "framewise_has_no_blank": all(each["framewise"]["blank_share"] == 0 for each in seeds),
        "runs_shorter": all(
            each["ctc"]["frames_per_run"] < each["framewise"]["frames_per_run"] for each in seeds
        ),
        "error_localises": all(s["concentration"][1] > s["concentration"][0] for s in signals),
        "error_vanishes": all(s["norm"][2] < s["norm"][1] for s in signals),
        "best_path_misleads": toy["A"] > toy["best_path_labelling"]
        and abs(toy["prefix_search"] - toy["A"]) < EXACT,
        # A beam may prune the best path's labelling; twice the beam has to keep it.
        "search_not_worse_at_twice_the_beam": all(
            width is not None and width <= 2 * each["decoding"]["beam_width"]
            for each in seeds
            for width in each["decoding"]["rescued_at"]
        ),
    }


def _at_stages(signal: Mapping[str, Any]) -> dict[str, list[float]]:
    """Values before, during and after."""
    epochs = list(signal["epochs"].values())
    return {name: [signal[name][e] for e in epochs] for name in ("norm", "concentration")}


def _verdict(numbers: Mapping[str, Any]) -> str:
    exact, speech = numbers["exactness"], numbers["speech"]
    made = "" if speech["corpus"] == "TIMIT" else " (TIMIT is not prepared here)"
    missed = [name.replace("_", " ") for name, held in numbers["criteria"].items() if not held]
    return (f"Missed: {', '.join(missed)}. " if missed else "") + (
        f"{exact['labellings']} labellings equal enumeration, {exact['cases']} of them and their "
        f"gradients torch, within {max(exact['worst'].values()):.0e}. "
        f"{speech['corpus']}{made}, {len(numbers['seeds'])} seeds: "
        f"{_spikes_in_words(numbers['seeds'])}; {_errors_in_words(numbers['seeds'])}; "
        f"{_decoding_in_words(numbers)}."
    )


def _spikes_in_words(seeds: Sequence[Mapping[str, Any]]) -> str:
    ctc, frame = ([each[name] for each in seeds] for name in ("ctc", "framewise"))
    blank, blank_framewise, accuracy, near = (
        _span([100 * each[name] for each in part], ".0f")
        for part, name in (
            (ctc, "blank_share"),
            (frame, "blank_share"),
            (frame, "frame_accuracy"),
            (ctc, "right_and_in_segment"),
        )
    )
    run, run_framewise = (
        _span([each["frames_per_run"] for each in part], ".1f") for part in (ctc, frame)
    )
    return (
        f"blank the most probable in {blank} % of frames (framewise {blank_framewise} %), "
        f"{run} frames a spike (framewise {run_framewise} a run, {accuracy} % of frames right), "
        f"{near} % of right spikes within a frame of their phone"
    )


def _errors_in_words(seeds: Sequence[Mapping[str, Any]]) -> str:
    signals = [_at_stages(each["error_signal"]) for each in seeds]
    shares = [_span([100 * s["concentration"][k] for s in signals], ".0f") for k in range(3)]
    norms = [_span([s["norm"][k] for s in signals], ".2g") for k in range(3)]
    return (
        f"share of |error| in a tenth of the frames {shares[0]} % before, {shares[1]} % during, "
        f"{shares[2]} % after training, its norm {norms[0]}, {norms[1]}, {norms[2]}"
    )


def _decoding_in_words(numbers: Mapping[str, Any]) -> str:
    decoded, toy = [each["decoding"] for each in numbers["seeds"]], numbers["two_frames"]
    more, less = (sum(each[n] for each in decoded) for n in ("more_probable", "less_probable"))
    count = len(decoded) * numbers["speech"]["held_out"]
    rescued = [width for each in decoded for width in each["rescued_at"]]
    widths = ", ".join("no width tried" if w is None else str(w) for w in rescued)
    worst = -min(gain for each in decoded for gain in each["gain_nats"])
    narrow = f", by {worst:.2g} nats at most, which vanishes at a beam of {widths}"
    searched, best = (
        _span([100 * each["phone_error_rate"][name] for each in decoded], ".1f")
        for name in ("prefix_search", "best_path")
    )
    return (
        f'two frames: best path {toy["best_path"]:.2f}, "A" {toy["A"]:.2f}; prefix search '
        f"of width {decoded[0]['beam_width']} ends in a more probable labelling than best path for "
        f"{share(more, count)} utterances and in a less probable one for {share(less, count)}"
        f"{narrow if less else ''}; phone errors {searched} % against {best} %"
    )


def _span(values: Sequence[float], form: str) -> str:
    """The least and the greatest over the seeds, or the one value if they read alike."""
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low} to {high}"


EXPERIMENT = Experiment(
    name="ctc",
    title="CTC: labels without a segmentation",
    source="Graves, Fernández, Gomez & Schmidhuber 2006, sections 3 to 5, eqs. 2 to 16, figs. 1 "
    "and 4",
    claim=dedent("""\
        The probability of a labelling is the sum over all paths that spell it, and forward-backward
        finds that sum and its gradient. A network so trained needs no segmentation: where one
        trained frame by frame labels every frame, its outputs are spikes with blanks between. The
        error signal first says only which labels come in which order, then gathers about the
        network's predictions, and vanishes as they become right. The most probable path need not
        spell the most probable labelling."""),
    setup=dedent(f"""\
        One bidirectional layer of {FULL.cells} peephole LSTM cells in each direction on 26
        features (12 MFCCs, energy, differences), input noise {FULL.noise}, as in section 5. TIMIT
        in 39 classes if `python -m recipes.timit prepare` has been run, else synthetic tones with
        known boundaries; the verdict says which. {FULL.seeds} seeds; the figure shows seed
        {SHOWN_SEED} on the shortest held-out utterance and, for the error signal, the shortest
        training utterance. Adam at {FULL.learning_rate}, batches of {FULL.batch_size};
        {FULL.epochs} epochs of CTC, {FULL.framewise_epochs} framewise. "During" is the first epoch
        whose best path has half as many labels as that utterance. Prefix beam search of width
        {FULL.beam_width}. Before these sizes were settled on, seed 0 was trained once for 40 and
        once for 120 epochs of CTC and its held-out error rate seen; one learning rate was tried.

        Holds if, in every seed: the sums equal enumeration and torch within {EXACT:.0e}, and
        impossible labellings have probability 0; the blank is the most probable in more than half
        of the frames of CTC and in none framewise (no frame's target is ever the blank), and CTC's
        runs of one label are shorter; the share of the error in the tenth of the frames with most
        rises from before to during, and the norm of the error falls from during to after; prefix
        search that ends in a less probable labelling than best path no longer does so with twice
        the beam. The paper's prefix search prunes nothing and is never worse. A beam keeps the
        {FULL.beam_width} best prefixes of each frame, and the best path's prefix may be one
        further down; that is a property of pruning and not of CTC. The criterion was that it never
        happens at all, and was changed when it did happen once."""),
    scaled=dedent(f"""\
        {FULL.train} training and {FULL.held_out} held-out utterances (of TIMIT's free sample: 10
        and 3 speakers) for the whole of TIMIT; 39 classes for 61; a frame each 10 ms; Adam on
        batches for online steepest descent with momentum. The error rates are not comparable with
        published ones."""),
    steps=FULL.seeds * (FULL.epochs + FULL.framewise_epochs + 2),
    run=run,
)
