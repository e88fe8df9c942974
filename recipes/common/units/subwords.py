"""Subwords for the training texts, found by sentencepiece (extra ``subword``)."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from asr.extras import import_extra
from asr.tokens import BLANK, Tokenizer
from asr.types import ConfigError

__all__ = ["train_subwords"]


def train_subwords(texts: Sequence[str], vocab_size: int) -> Tokenizer:
    """A unigram model (Kudo 2018) of ``vocab_size`` tokens with the blank.

    Every character of ``texts`` is a token as well, so that all of them can be spelled.

    Raises:
        MissingPackageError: sentencepiece is not installed.
        ConfigError: the texts have too many characters for so few tokens, or too few words for so
            many.
    """
    package = import_extra("sentencepiece", "subword", "subwords")
    model = io.BytesIO()
    try:
        package.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=vocab_size,
            model_type="unigram",
            character_coverage=1.0,
            normalization_rule_name="identity",  # texts are normalised already
            max_sentence_length=1 << 20,  # bytes; longer ones would be left out
            bos_id=-1,
            eos_id=-1,
            num_threads=1,  # the sum of the counts depends on how the texts are shared out
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _refused(str(error), vocab_size) from None
    pieces = package.SentencePieceProcessor(model_proto=model.getvalue())
    # Id 0 is sentencepiece's mark of the unknown; here it is the blank.
    ids = range(1, pieces.get_piece_size())
    tokens = [pieces.id_to_piece(k) for k in ids]
    scores = [min(0.0, pieces.get_score(k)) for k in ids]
    return Tokenizer([BLANK, *tokens], "subwords", scores)


def _refused(message: str, vocab_size: int) -> ConfigError:
    """sentencepiece's refusal in other words, with the number that it would take."""
    if most := re.search(r"too high .*<= (\d+)", message):
        what, remedy = "the training texts are too few", f"give --vocab-size {most[1]} or less"
    elif least := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        what = "the training texts have more characters"
        remedy = f"give --vocab-size {int(least[1]) + 1} or more"
    else:
        what, remedy = f"sentencepiece refuses: {' '.join(message.split())}", "try another number"
    return ConfigError(f"{vocab_size} subwords cannot be made: {what}", remedy=remedy)
