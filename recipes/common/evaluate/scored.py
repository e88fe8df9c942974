"""One utterance beside its reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lhotse.cut import Cut

from asr.scoring import NIST_COSTS, ErrorCounts, right_tokens, token_errors
from asr.types import Hypothesis, Word
from recipes.common.manifests import PHONES
from recipes.common.metric import Metric

__all__ = ["Alternative", "Scored", "Scoring", "fields_of", "pronunciation"]

INTERNAL = (PHONES, "byte_order")  # fields that say nothing of who speaks, or how


@dataclass(frozen=True)
class Alternative:
    """One of the N best hypotheses, its score, and how wrong it is."""

    text: str
    score: float
    confidence: float
    errors: ErrorCounts


@dataclass(frozen=True)
class Scored:
    """One utterance: its reference, its hypothesis, and the errors between them.

    Attributes:
        speaker: who speaks, if that is known.
        fields: what else the corpus says of it.
        words: of the hypothesis, with their times and confidences.
        right: of each word, whether it was said.
        nist_errors: the errors on the path that NIST's sclite takes.
        nbest: the hypotheses, best first; none where the audio could not be used.
        recognised: False where it could not: the hypothesis is empty then.
    """

    id: str
    speaker: str | None
    seconds: float
    reference: str
    hypothesis: str
    confidence: float
    errors: ErrorCounts
    token_errors: ErrorCounts
    nist_errors: ErrorCounts
    fields: Mapping[str, str] = field(default_factory=dict)
    words: Sequence[Word] = ()
    right: Sequence[bool] = ()
    nbest: Sequence[Alternative] = ()
    recognised: bool = True

    @property
    def oracle(self) -> ErrorCounts:
        """The errors of the least wrong of the N best."""
        return min((n.errors for n in self.nbest), key=lambda e: e.total, default=self.errors)


@dataclass(frozen=True)
class Scoring:
    """How hypotheses are compared with references.

    Attributes:
        metric: counts the errors.
        token_kind: what the model's tokens are: the token error rate is over phones, or over
            characters.
        scored_in: ``"words"`` or ``"phones"``, of a model of phones.
        pronounced: the reference is how the text is pronounced, not the text.
    """

    metric: Metric
    token_kind: str
    scored_in: str | None = None
    pronounced: bool = False

    def reference(self, cut: Cut) -> str:
        """What was said, in what hypotheses are in."""
        return pronunciation(cut) or "" if self.pronounced else cut.supervisions[0].text

    def units(self, text: str) -> list[str]:
        """What the metric compares."""
        return self.metric.symbols(text) if self.metric.symbols else text.split()

    def tokens(self, text: str) -> list[str]:
        """What the token error rate is over."""
        if self.metric.symbols:
            return self.metric.symbols(text)
        return text.split() if self.token_kind == "phones" else list(text)

    @property
    def has_characters(self) -> bool:
        """Whether tokens are other than what the metric compares."""
        return self.token_kind != "phones"

    def score(self, cut: Cut, hypotheses: Sequence[Hypothesis]) -> Scored:
        """``cut`` with what was heard of it, best first; nothing where it could not be used."""
        reference = self.reference(cut)
        best = hypotheses[0] if hypotheses else Hypothesis("", 0.0, 0.0)
        words = [word for word in best.timed_words() if self.units(word.text)]
        return Scored(
            id=cut.id,
            speaker=cut.supervisions[0].speaker,
            seconds=cut.duration,
            reference=reference,
            hypothesis=best.text,
            confidence=best.confidence,
            errors=self.metric.count(reference, best.text),
            token_errors=token_errors(self.tokens(reference), self.tokens(best.text)),
            nist_errors=self._nist_errors(reference, best.text),
            fields=fields_of(cut),
            words=words,
            right=right_tokens(self._words(reference.split()), self._words(w.text for w in words)),
            nbest=[self._alternative(reference, each) for each in hypotheses],
            recognised=bool(hypotheses),
        )

    def _words(self, texts: Iterable[str]) -> list[tuple[str, ...]]:
        """Each word as the metric sees it; what it leaves out is no word."""
        return [units for text in texts if (units := tuple(self.units(text)))]

    def _nist_errors(self, reference: str, hypothesis: str) -> ErrorCounts:
        if self.metric.optional:  # then the metric itself counts as sclite does
            return self.metric.count(reference, hypothesis)
        return token_errors(self.units(reference), self.units(hypothesis), NIST_COSTS)

    def _alternative(self, reference: str, each: Hypothesis) -> Alternative:
        errors = self.metric.count(reference, each.text)
        return Alternative(each.text, each.score, each.confidence, errors)


def pronunciation(cut: Cut) -> str | None:
    """The phones of an utterance, where `prepare` made them of its text."""
    phones = (cut.supervisions[0].custom or {}).get(PHONES)
    return phones if isinstance(phones, str) else None


def fields_of(cut: Cut) -> dict[str, str]:
    """What the supervision, or the cut, says of an utterance beside its text, by name."""
    supervision = cut.supervisions[0]
    own = {"gender": supervision.gender, "language": supervision.language}
    found = {**own, **(cut.custom or {}), **(supervision.custom or {})}
    found |= {"speaker": supervision.speaker, "recording": cut.recording_id}
    return {
        name: str(value)
        for name, value in found.items()
        if isinstance(value, str | int | float) and name not in INTERNAL
    }
