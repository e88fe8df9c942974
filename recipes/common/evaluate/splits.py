"""What is evaluated, by name: a manifest, a subset that manifests tell of, a part of a corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lhotse.cut import Cut

from asr.types import ConfigError, CorpusError
from recipes.common.data import manifest_path, tokens_path
from recipes.common.evaluate.scored import fields_of
from recipes.common.manifests import check_ids, read_manifest, usable_cuts
from recipes.common.normaliser import TextOptions, load_text_options
from recipes.common.prepare import read_split
from recipes.common.recipe import Recipe

__all__ = ["SUBSET", "check_fields", "find_splits", "manifests_in", "names_in"]

SUBSET = "subset"  # the field of a manifest's utterances that names a part of the corpus
ENDING = manifest_path(Path(), "").name


def names_in(text: str, what: str) -> tuple[str, ...]:
    """The names of a list ``A,B``, each once; ``what`` they name is for messages.

    Raises:
        ConfigError: one is empty, or cannot be a part of a file's name.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if not name or "/" in name or name.startswith("."):
            raise ConfigError(f"{name!r} names no {what}", remedy="give names, or NAME,NAME")
    return names


def find_splits(
    recipe: Recipe,
    names: tuple[str, ...],
    data: Path,
    corpus: Path | None,
    form: TextOptions | None = None,
) -> Mapping[str, list[Cut]]:
    """The cuts of each split: of ``corpus`` if given, else of the manifests in ``data``.

    The texts of ``corpus`` get the ``form`` that the model was trained on; where that is not known,
    the one of ``data``.

    Raises:
        CorpusError: there is no such split, or it cannot be used.
    """
    if corpus is None:
        return {name: _from_data(data, name) for name in names}
    if form is None:
        form = load_text_options(data) if tokens_path(data).exists() else recipe.text
    return {name: _from_corpus(recipe, corpus, name, form) for name in names}


def _from_corpus(recipe: Recipe, corpus: Path, name: str, form: TextOptions) -> list[Cut]:
    """The cuts, with texts in the ``form`` that `prepare` gives them."""
    read = read_split(recipe, corpus, name)
    utterances = [replace(u, text=form.apply(u.text)) for u in read]
    check_ids(corpus, utterances)
    return usable_cuts(utterances)


def manifests_in(data: Path) -> list[Path]:
    """The manifests of a data folder."""
    return sorted(data.glob(f"*{ENDING}"))


def _from_data(data: Path, name: str) -> list[Cut]:
    path = manifest_path(data, name)
    others = [] if path.exists() else manifests_in(data)
    subsets: set[str] = set()
    for other in others:
        cuts = list(read_manifest(other))
        told = [fields_of(cut).get(SUBSET) for cut in cuts]
        if name in told:
            return [cut for cut, subset in zip(cuts, told, strict=True) if subset == name]
        subsets.update(subset for subset in told if subset is not None)
    if others:
        known = sorted({p.name.removesuffix(ENDING) for p in others} | subsets)
        raise CorpusError(
            f"no split {name!r} here", where=str(data), remedy=f"choose of {', '.join(known)}"
        )
    return list(read_manifest(path))


def check_fields(fields: Sequence[str], splits: Mapping[str, Sequence[Cut]]) -> None:
    """Refuse a field that no utterance of ``splits`` has.

    Raises:
        ConfigError: there is one.
    """
    known = {name for cuts in splits.values() for cut in cuts for name in fields_of(cut)}
    for field in fields:
        if field not in known:
            raise ConfigError(
                f"no utterance has the field {field!r}",
                remedy=f"choose of {', '.join(sorted(known))}",
            )
