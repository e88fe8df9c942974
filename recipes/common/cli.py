"""The commands of every recipe: prepare, fit, evaluate, compare, report, ablation, export."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from asr.bundle import Bundle, load_bundle
from asr.cli.recognition import (
    add_decoding,
    add_language,
    add_recognition,
    chosen_options,
    chosen_phrases,
    lm_units,
)
from asr.cli.results import inputs_of
from asr.cli.terminal import FAILURE, run_command
from asr.decoding import BeamOptions, DecoderOptions, GreedyOptions
from asr.files.write import check_target
from asr.tokens import Tokenizer
from asr.types import AsrError, ConfigError
from recipes.common.ablation.command import Ablation
from recipes.common.compare import compare, metric_of, print_comparison
from recipes.common.corpus import add_corpus_option
from recipes.common.data import tokens_path
from recipes.common.evaluate import (
    ALL,
    CONDITIONS,
    EvaluateOptions,
    chosen_conditions,
    evaluate,
    names_in,
)
from recipes.common.export import (
    LanguageFiles,
    best_checkpoint,
    bundle_from_checkpoint,
    export,
)
from recipes.common.prepare import PrepareOptions, prepare, prepare_corpus
from recipes.common.prepare_options import add_text_options, chosen_text, chosen_units
from recipes.common.recipe import Recipe
from recipes.common.report import Report
from recipes.common.shards import Sharding
from recipes.common.trained_on import chosen_data, data_of, run_of
from recipes.common.units.lexicon import LEXICON_FILE

__all__ = ["main", "prepare", "run_guarded"]

BY_LEXICON = f"beam with the prepared {LEXICON_FILE} for phones"
COMMANDS = ("prepare", "fit", "evaluate", "compare", "report", "ablation", "export")


def main(recipe: Recipe, argv: Sequence[str] | None = None) -> int:
    """Run one command of ``recipe``; returns the exit code, 2 for what the user can mend."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return run_guarded(lambda: _dispatch(recipe, argv))


def _dispatch(recipe: Recipe, argv: list[str]) -> None:
    if argv[:1] == ["fit"]:
        from recipes.common.fit import fit  # Lightning's command line parses the rest

        fit(recipe, argv[1:])
        return
    arguments = _parser(recipe).parse_args(argv)
    arguments.run(recipe, arguments)


def run_guarded(command: Callable[[], None]) -> int:
    """Run ``command``; returns 0, 2 after what the user can mend, or 130.

    Characters that the terminal cannot show are printed as question marks.
    """

    def run() -> int:
        try:
            command()
        except AsrError as error:  # which may be a list
            print(f"error: {error}", file=sys.stderr)
            return FAILURE
        except SystemExit as end:
            if end.code == 1:  # rich's, where the reader of the output (say, `head`) has left
                return FAILURE
            raise
        return 0

    interrupted = "interrupted; what was finished is kept (`fit` goes on with --resume true)"
    return run_command("", run, interrupted=interrupted)


def _parser(recipe: Recipe) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m recipes.{recipe.name}", description=recipe.title
    )
    further = {"ablation": Ablation(), "report": Report(), **recipe.commands}
    names = ",".join(dict.fromkeys((*recipe.commands, *COMMANDS)))
    commands = parser.add_subparsers(required=True, metavar=f"{{{names}}}")

    for name, command in further.items():
        part = commands.add_parser(name, help=command.help)
        command.add_options(part)
        part.set_defaults(run=command.run)

    part = commands.add_parser("prepare", help="write manifests and the token list")
    if recipe.source is not None:
        recipe.source.add_options(part)
    else:
        add_corpus_option(part, recipe.title, required=recipe.obtain is None)
    part.add_argument("--data", type=Path, default=recipe.paths.data, help="folder to write")
    part.add_argument(
        *("--skip-bad", "--skip-broken"),
        action="store_true",
        help="leave out what cannot be used, and list it in left_out.tsv",
    )
    add_text_options(part, recipe)
    part.add_argument(
        "--shards",
        metavar="N|SIZE",
        help="copy all audio into N tar files a split, or into files of that size, such as 1G",
    )
    part.add_argument(
        "--shards-url", metavar="URL", help="where the folder shards/ will be read from"
    )
    part.set_defaults(run=_prepare)

    commands.add_parser("fit", help="train; `fit --help` lists every option")

    part = commands.add_parser("evaluate", help="decode splits and print error rates")
    _add_evaluation(part, recipe)
    part.set_defaults(run=_evaluate)

    part = commands.add_parser("compare", help="say whether two results differ by more than chance")
    for name in ("first", "second"):
        part.add_argument(name, type=Path, metavar="ROWS", help="a .jsonl file of `evaluate`")
    _add_scoring(part, recipe, "that of both results, or ")
    part.set_defaults(run=_compare)

    part = commands.add_parser("export", help="write the model bundle that `asr-server` serves")
    _add_model(part, recipe)
    part.add_argument("--output", type=Path, default=recipe.paths.bundle, help="bundle to write")
    part.add_argument(
        "--half", action="store_true", help="keep the weights in 16 bits: half the size"
    )
    _add_data(part, recipe)
    add_decoding(part, f"greedy; {BY_LEXICON}")
    add_language(part)
    part.set_defaults(run=_export)
    return parser


def _add_evaluation(part: argparse.ArgumentParser, recipe: Recipe) -> None:
    """The options of ``evaluate``."""
    models = _add_model(part, recipe)
    models.add_argument("--bundle", type=Path, help="a model bundle in place of a checkpoint")
    if recipe.utterances is not None:
        add_corpus_option(part, recipe.title, required=False)
    _add_data(part, recipe)
    part.add_argument(
        "--split",
        default="dev",
        metavar="NAME,…",
        help="dev, test, or whatever the corpus names; several have a row each (default: dev)",
    )
    part.add_argument(
        "--by", metavar="FIELD,…", help="tables by speaker, gender or another field of the corpus"
    )
    part.add_argument(
        "--nist", action="store_true", help="also write trn, stm and ctm for NIST's sclite"
    )
    part.add_argument(
        "--conditions",
        metavar="NAME,…",
        help=f"also recognise the splits in {', '.join(CONDITIONS)}, or in {ALL} of these, and say "
        "what that costs and what is heard where nobody speaks",
    )
    part.add_argument(
        "--noise",
        type=Path,
        metavar="FOLDER",
        help="recordings of noise for --conditions (default: computed noise)",
    )
    part.add_argument(
        "--reliability",
        type=Path,
        metavar="PNG",
        help="draw how many words are right at a confidence",
    )
    places = part.add_mutually_exclusive_group()
    places.add_argument("--results", type=Path, help="folder to write (default: RUN/results)")
    places.add_argument(
        "--output", type=Path, help="file for each utterance's result alone (JSON lines)"
    )
    part.add_argument("--batch-seconds", type=float, default=60.0, help="audio in a batch")
    part.add_argument(
        "--chunk-ms", type=float, metavar="MS", help="decode as a stream is: by chunks of MS"
    )
    part.add_argument(
        "--look-ahead-ms", type=float, metavar="MS", help="what chunks may read beyond their end"
    )
    _add_scoring(part, recipe)
    add_recognition(part, f"greedy, or the bundle's; {BY_LEXICON}")


def _add_scoring(part: argparse.ArgumentParser, recipe: Recipe, usual: str = "") -> None:
    if recipe.scorings:
        part.add_argument(
            "--scoring",
            choices=tuple(recipe.scorings),
            help=f"what counts as an error (default: {usual}{recipe.metric.name})",
        )


def _add_model(part: argparse.ArgumentParser, recipe: Recipe) -> argparse._MutuallyExclusiveGroup:
    """The options that say which model; returns the group of those that exclude each other."""
    part.add_argument("--run", dest="run_dir", type=Path, default=recipe.paths.run)
    models = part.add_mutually_exclusive_group()
    models.add_argument("--checkpoint", type=Path, help="default: the best one of the run")
    return models


def _add_data(part: argparse.ArgumentParser, recipe: Recipe) -> None:
    part.add_argument(
        "--data",
        type=Path,
        help=f"prepared folder (default: that of the run, or {recipe.paths.data})",
    )


def _language_files(arguments: argparse.Namespace) -> LanguageFiles | None:
    units = lm_units(arguments)
    if arguments.lm is None and arguments.lexicon is None:
        return None
    return LanguageFiles(arguments.lm, arguments.lexicon, units)


def _decoding(
    recipe: Recipe, arguments: argparse.Namespace, bundle: Bundle
) -> tuple[LanguageFiles | None, DecoderOptions]:
    """What is added to ``bundle``, and its decoder.

    A model of the phones of words writes words by the lexicon that was prepared with them, unless
    something else is asked for.
    """
    files = _language_files(arguments)
    if (
        bundle.tokenizer.kind != "phones"
        or recipe.token_kind == "phones"  # of the corpus, which has no words
        or bundle.language is not None
        or arguments.lexicon is not None
        or arguments.decoder == GreedyOptions.name
        or not _is_prepared_for(bundle, arguments.data)
    ):
        return files, chosen_options(arguments, bundle.decoder)
    options = chosen_options(arguments, BeamOptions())
    if not isinstance(options, BeamOptions):
        return files, options
    return LanguageFiles(arguments.lm, arguments.data / LEXICON_FILE, lm_units(arguments)), options


def _is_prepared_for(bundle: Bundle, data: Path) -> bool:
    """Whether the folder has a lexicon in the tokens of ``bundle``."""
    if not (data / LEXICON_FILE).is_file():
        return False
    return Tokenizer.load(tokens_path(data)).tokens == bundle.tokenizer.tokens


def _sharding(arguments: argparse.Namespace) -> Sharding | None:
    if arguments.shards is None:
        if arguments.shards_url is not None:
            raise ConfigError("--shards-url without shards", remedy="add --shards N or SIZE")
        return None
    return Sharding.of(arguments.shards, arguments.shards_url)


def _prepare(recipe: Recipe, arguments: argparse.Namespace) -> None:
    options = PrepareOptions(
        skip_bad=arguments.skip_bad,
        text=chosen_text(recipe, arguments),
        units=chosen_units(recipe, arguments),
        sharding=_sharding(arguments),
    )
    if recipe.source is not None:
        corpus = recipe.source.read(arguments)
        prepare_corpus(recipe, corpus, arguments.data, options)
        return
    corpus = arguments.corpus
    if corpus is None and recipe.obtain is not None:
        corpus = recipe.paths.corpus
        recipe.obtain(corpus)
    prepare(recipe, corpus, arguments.data, options)


def _evaluate(recipe: Recipe, arguments: argparse.Namespace) -> None:
    scoring = arguments.scoring if recipe.scorings else None
    recipe = _with_scoring(recipe, arguments)
    run = None if arguments.bundle else run_of(arguments.checkpoint, arguments.run_dir)
    arguments.data = _data(recipe, arguments, run)
    if arguments.output is not None:
        check_target(arguments.output, inputs_of(arguments))
    bundle, model, results = _model(recipe, arguments)
    language, decoder = _decoding(recipe, arguments, bundle)
    evaluate(
        recipe,
        EvaluateOptions(
            bundle=bundle,
            model=model,
            splits=names_in(arguments.split, "split"),
            data=arguments.data,
            corpus=arguments.corpus if recipe.utterances else None,
            decoder=decoder,
            phrases=tuple(chosen_phrases(arguments)),
            language=language,
            batch_seconds=arguments.batch_seconds,
            device=arguments.device,
            backend=arguments.backend,
            results=arguments.results or results,
            output=arguments.output,
            by=names_in(arguments.by, "field") if arguments.by is not None else (),
            nist=arguments.nist,
            scoring=scoring,
            chunks_ms=_chunks_ms(arguments),
            conditions=chosen_conditions(arguments.conditions) if arguments.conditions else (),
            noise=arguments.noise,
            reliability=arguments.reliability,
            trained_on=None if run is None else data_of(run),
        ),
    )


def _data(recipe: Recipe, arguments: argparse.Namespace, run: Path | None) -> Path:
    """The prepared folder; a bundle is of no ``run``."""
    if run is None:
        return arguments.data or recipe.paths.data
    return chosen_data(arguments.data, run, recipe.paths.data)


def _chunks_ms(arguments: argparse.Namespace) -> tuple[float, float] | None:
    """Chunk and look-ahead, if they are asked for.

    Raises:
        ConfigError: one of the two is missing.
    """
    chunk, look_ahead = arguments.chunk_ms, arguments.look_ahead_ms
    if chunk is None and look_ahead is None:
        return None
    if chunk is None or look_ahead is None:
        raise ConfigError(
            "--chunk-ms and --look-ahead-ms go together", remedy="give both, or neither"
        )
    return chunk, look_ahead


def _with_scoring(recipe: Recipe, arguments: argparse.Namespace) -> Recipe:
    """``recipe`` with the metric that is asked for."""
    if not recipe.scorings or arguments.scoring is None:
        return recipe
    return replace(recipe, metric=recipe.scorings[arguments.scoring])


def _compare(recipe: Recipe, arguments: argparse.Namespace) -> None:
    results = (arguments.first, arguments.second)
    told = {} if recipe.scorings and arguments.scoring else recipe.scorings
    metric = metric_of(results, _with_scoring(recipe, arguments).metric, told)
    print_comparison(metric, compare(metric, *results), [str(path) for path in results])


def _model(recipe: Recipe, arguments: argparse.Namespace) -> tuple[Bundle, Path, Path]:
    """The model that is meant, what it is from, and the usual folder of its results."""
    if arguments.bundle is not None:
        bundle = load_bundle(arguments.bundle, arguments.device)
        name = arguments.bundle.resolve().name
        return bundle, arguments.bundle, recipe.paths.root / "results" / name
    checkpoint = arguments.checkpoint or best_checkpoint(arguments.run_dir)
    bundle = bundle_from_checkpoint(checkpoint, recipe.name)
    return bundle, checkpoint, arguments.run_dir / "results"


def _export(recipe: Recipe, arguments: argparse.Namespace) -> None:
    checkpoint = arguments.checkpoint or best_checkpoint(arguments.run_dir)
    arguments.data = _data(recipe, arguments, run_of(arguments.checkpoint, arguments.run_dir))
    bundle = bundle_from_checkpoint(checkpoint, recipe.name)
    language, options = _decoding(recipe, arguments, bundle)
    export(checkpoint, arguments.output, recipe.name, options, language, half=arguments.half)
    print(f"{checkpoint} -> {arguments.output}")
