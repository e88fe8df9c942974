"""The form of OpenAI's ``audio/transcriptions``: what it says, checked in full."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from server.client import RecognitionConfig, SpeechContext
from server.http.admission import Place
from server.http.body import BODY_BYTES, Body, too_long
from server.http.errors import ApiError
from server.limits import WHOLE_BYTES

__all__ = ["FORMATS", "Wanted", "phrases_of", "read_wanted"]

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")
INCLUDES = ("posteriors",)  # of verbose_json
# Programs name OpenAI's models where they ask for the usual one.
DEFAULT_MODELS = re.compile(r"(whisper-1|gpt-(4o-(mini-)?)?transcribe)(-\d{4}-\d{2}-\d{2})?")
MAX_TEMPERATURE = 1.0
MAX_FIELDS = 1100  # twice as many as there may be phrases, each a field
FIELD_BYTES = 64 * 1024
# Taken for what they ask of OpenAI's own models; here they change nothing.
WITHOUT_EFFECT = ("chunking_strategy",)
TRUE = ("true", "1")
BOOLS = (*TRUE, "false", "0")
ENDS_OF_PHRASES = re.compile(r"[,;:.!?|\r\n\t]+(?:\s+|$)|[;|\r\n\t]+")


@dataclass(frozen=True)
class Wanted:
    """What a request asks for.

    Attributes:
        audio: a file's bytes.
        model: the server's name for it; empty: the server's default.
        prompt: phrases that may be said, as far as the model can say them.
        keywords: phrases that it has to be able to say.
        format: of :data:`FORMATS`.
        granularities: of ``verbose_json``: times of words, of segments.
        stream: answer by server-sent events.
        posteriors: what the model heard, frame by frame, in ``verbose_json``.
    """

    audio: bytes
    model: str
    prompt: tuple[str, ...]
    keywords: tuple[str, ...]
    format: str
    granularities: frozenset[str]
    stream: bool
    posteriors: bool = False

    def configs(self) -> list[RecognitionConfig]:
        """What the server is asked for, until it can be used.

        A prompt is free text and a hint to OpenAI's models. Here its words have to be the model's,
        so the last of these goes without.
        """
        return [self._config(prompt) for prompt in dict.fromkeys([self.prompt, ()])]

    def _config(self, prompt: tuple[str, ...]) -> RecognitionConfig:
        phrases = [*prompt, *self.keywords]
        return RecognitionConfig(
            model=self.model,
            enable_word_time_offsets=self.format in ("srt", "vtt", "verbose_json"),
            speech_contexts=[SpeechContext(phrases=phrases)] if phrases else [],
            enable_posteriors=self.posteriors,
        )


async def read_wanted(request: Request, place: Place, idle_seconds: float, language: str) -> Wanted:
    """Read and check the request's form; ``language`` is the one that the models know.

    Raises:
        ApiError: it cannot be used.
        ClientDisconnect: the client has gone.
    """
    body = Body(request, place, idle_seconds)
    body.check_length()
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise ApiError(415, "the request is no form (send it as multipart/form-data)", close=True)
    parser = _Parser(
        request.headers,
        body.pieces(),
        max_files=1,
        max_fields=MAX_FIELDS,
        max_part_size=FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        message = f"the form cannot be read: {error.message.rstrip('.')}"
        raise ApiError(400, message, close=True) from None
    except (UnicodeError, LookupError):  # of the charset that the header names
        raise ApiError(400, "the form is not in UTF-8", close=True) from None
    try:
        return await _read(_Fields(form), language)
    finally:
        await form.close()


class _Parser(MultiPartParser):
    spool_max_size = BODY_BYTES  # in memory, which is counted, and never in a file


class _Fields:
    """A form's fields. Lists are called ``name[]`` by OpenAI's clients."""

    def __init__(self, form: FormData) -> None:
        self._fields: dict[str, list[str | UploadFile]] = {}
        for name, value in form.multi_items():
            self._fields.setdefault(name.removesuffix("[]"), []).append(value)

    def text(self, name: str) -> str | None:
        """The field ``name``, or None."""
        values = self.texts(name)
        if len(values) > 1:
            raise ApiError(400, f"{name} is there {len(values)} times", param=name)
        return values[0] if values else None

    def texts(self, name: str) -> list[str]:
        """All that is called ``name``."""
        values = self._fields.pop(name, [])
        texts = [value for value in values if isinstance(value, str)]
        if len(texts) < len(values):
            raise ApiError(400, f"{name} is a file and should be text", param=name)
        return texts

    async def file(self, name: str) -> bytes:
        """The bytes of the file ``name``."""
        for value in self._fields.pop(name, []):
            if isinstance(value, UploadFile):
                if (value.size or 0) > WHOLE_BYTES:
                    raise too_long()
                return await value.read()
            raise ApiError(400, f"{name} is no file (send it with a file name)", param=name)
        raise ApiError(400, f"{name} is missing", param=name)

    def check_all_read(self) -> None:
        """Refuse fields that mean nothing here."""
        for name in self._fields:
            raise ApiError(
                400, f"{name[:100]!r} is not known here (leave it out)", param=name[:100]
            )


async def _read(fields: _Fields, language: str) -> Wanted:
    model = fields.text("model")
    if not model:
        raise ApiError(400, "model is missing (GET /v1/models lists them)", param="model")
    _check_language(fields, language)
    _check_temperature(fields.text("temperature"))
    includes = [_one_of("include", name, INCLUDES) for name in fields.texts("include")]
    for name in WITHOUT_EFFECT:
        fields.text(name)
    form = _one_of("response_format", fields.text("response_format") or "json", FORMATS)
    granularities = fields.texts("timestamp_granularities")
    if granularities and form != "verbose_json":
        raise ApiError(
            400,
            "timestamp_granularities are for verbose_json alone",
            param="timestamp_granularities",
        )
    if includes and form != "verbose_json":
        raise ApiError(400, "include is for verbose_json alone", param="include")
    wanted = Wanted(
        audio=await fields.file("file"),
        model="" if DEFAULT_MODELS.fullmatch(model) else model,
        prompt=phrases_of(fields.text("prompt") or ""),
        keywords=tuple(fields.texts("keywords")),
        format=form,
        granularities=frozenset(
            _one_of("timestamp_granularities", name, GRANULARITIES)
            for name in granularities or ["segment"]
        ),
        stream=_one_of("stream", (fields.text("stream") or "false").lower(), BOOLS) in TRUE,
        posteriors="posteriors" in includes,
    )
    fields.check_all_read()
    if wanted.stream and form not in ("json", "text"):
        raise ApiError(400, f"{form} cannot be streamed (give json)", param="stream")
    return wanted


def phrases_of(prompt: str) -> tuple[str, ...]:
    """The phrases of a prompt: what stands between punctuation marks, each once."""
    parts = (part.strip() for part in ENDS_OF_PHRASES.split(prompt))
    return tuple(dict.fromkeys(part for part in parts if part))


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ApiError(
            400, f"{name} is {value[:100]!r} (give one of {', '.join(known)})", param=name
        )
    return value


def _check_language(fields: _Fields, known: str) -> None:
    for name in ("language", "languages"):
        for value in fields.texts(name):
            # en-US and en_GB are English as well.
            if re.split("[-_]", value.strip().lower())[0] not in (known, ""):
                raise ApiError(
                    400, f"{name} is {value[:100]!r}, and the models know {known!r}", param=name
                )


def _check_temperature(text: str | None) -> None:
    """It changes nothing: no decoder draws lots."""
    try:
        value = float(text or 0)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MAX_TEMPERATURE:  # false for NaN too
        raise ApiError(
            400,
            f"temperature is {(text or '')[:100]!r} (give 0 to {MAX_TEMPERATURE:g})",
            param="temperature",
        )
