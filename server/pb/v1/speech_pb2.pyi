from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AudioEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIO_ENCODING_UNSPECIFIED: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_LINEAR16: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_FLOAT: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_FLAC: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_OGG: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_MULAW: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_ALAW: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_WAV: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_MP3: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_MP4: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_WEBM: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_AAC: _ClassVar[AudioEncoding]

class Latency(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LATENCY_UNSPECIFIED: _ClassVar[Latency]
    LATENCY_LOW: _ClassVar[Latency]
    LATENCY_MEDIUM: _ClassVar[Latency]
    LATENCY_HIGH: _ClassVar[Latency]

class SpeechEventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPEECH_EVENT_TYPE_UNSPECIFIED: _ClassVar[SpeechEventType]
    SPEECH_EVENT_TYPE_END_OF_SINGLE_UTTERANCE: _ClassVar[SpeechEventType]

class SearchProof(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEARCH_PROOF_UNSPECIFIED: _ClassVar[SearchProof]
    SEARCH_PROOF_EXACT: _ClassVar[SearchProof]
    SEARCH_PROOF_SECTIONED: _ClassVar[SearchProof]
    SEARCH_PROOF_CUT: _ClassVar[SearchProof]
AUDIO_ENCODING_UNSPECIFIED: AudioEncoding
AUDIO_ENCODING_LINEAR16: AudioEncoding
AUDIO_ENCODING_FLOAT: AudioEncoding
AUDIO_ENCODING_FLAC: AudioEncoding
AUDIO_ENCODING_OGG: AudioEncoding
AUDIO_ENCODING_MULAW: AudioEncoding
AUDIO_ENCODING_ALAW: AudioEncoding
AUDIO_ENCODING_WAV: AudioEncoding
AUDIO_ENCODING_MP3: AudioEncoding
AUDIO_ENCODING_MP4: AudioEncoding
AUDIO_ENCODING_WEBM: AudioEncoding
AUDIO_ENCODING_AAC: AudioEncoding
LATENCY_UNSPECIFIED: Latency
LATENCY_LOW: Latency
LATENCY_MEDIUM: Latency
LATENCY_HIGH: Latency
SPEECH_EVENT_TYPE_UNSPECIFIED: SpeechEventType
SPEECH_EVENT_TYPE_END_OF_SINGLE_UTTERANCE: SpeechEventType
SEARCH_PROOF_UNSPECIFIED: SearchProof
SEARCH_PROOF_EXACT: SearchProof
SEARCH_PROOF_SECTIONED: SearchProof
SEARCH_PROOF_CUT: SearchProof

class RecognitionConfig(_message.Message):
    __slots__ = ("encoding", "sample_rate_hertz", "audio_channel_count", "decoder", "beam_width", "max_alternatives", "enable_word_time_offsets", "model", "audio_channel", "lm_weight", "speech_contexts", "enable_separate_recognition_per_channel", "enable_inverse_text_normalization", "enable_posteriors")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CHANNEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    DECODER_FIELD_NUMBER: _ClassVar[int]
    BEAM_WIDTH_FIELD_NUMBER: _ClassVar[int]
    MAX_ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    ENABLE_WORD_TIME_OFFSETS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    LM_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    SPEECH_CONTEXTS_FIELD_NUMBER: _ClassVar[int]
    ENABLE_SEPARATE_RECOGNITION_PER_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    ENABLE_INVERSE_TEXT_NORMALIZATION_FIELD_NUMBER: _ClassVar[int]
    ENABLE_POSTERIORS_FIELD_NUMBER: _ClassVar[int]
    encoding: AudioEncoding
    sample_rate_hertz: int
    audio_channel_count: int
    decoder: str
    beam_width: int
    max_alternatives: int
    enable_word_time_offsets: bool
    model: str
    audio_channel: int
    lm_weight: float
    speech_contexts: _containers.RepeatedCompositeFieldContainer[SpeechContext]
    enable_separate_recognition_per_channel: bool
    enable_inverse_text_normalization: bool
    enable_posteriors: bool
    def __init__(self, encoding: _Optional[_Union[AudioEncoding, str]] = ..., sample_rate_hertz: _Optional[int] = ..., audio_channel_count: _Optional[int] = ..., decoder: _Optional[str] = ..., beam_width: _Optional[int] = ..., max_alternatives: _Optional[int] = ..., enable_word_time_offsets: bool = ..., model: _Optional[str] = ..., audio_channel: _Optional[int] = ..., lm_weight: _Optional[float] = ..., speech_contexts: _Optional[_Iterable[_Union[SpeechContext, _Mapping]]] = ..., enable_separate_recognition_per_channel: bool = ..., enable_inverse_text_normalization: bool = ..., enable_posteriors: bool = ...) -> None: ...

class SpeechContext(_message.Message):
    __slots__ = ("phrases", "boost")
    PHRASES_FIELD_NUMBER: _ClassVar[int]
    BOOST_FIELD_NUMBER: _ClassVar[int]
    phrases: _containers.RepeatedScalarFieldContainer[str]
    boost: float
    def __init__(self, phrases: _Optional[_Iterable[str]] = ..., boost: _Optional[float] = ...) -> None: ...

class TranscribeRequest(_message.Message):
    __slots__ = ("config", "audio")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    config: RecognitionConfig
    audio: bytes
    def __init__(self, config: _Optional[_Union[RecognitionConfig, _Mapping]] = ..., audio: _Optional[bytes] = ...) -> None: ...

class TranscribeResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SpeechRecognitionResult]
    def __init__(self, results: _Optional[_Iterable[_Union[SpeechRecognitionResult, _Mapping]]] = ...) -> None: ...

class TranscribeChunksRequest(_message.Message):
    __slots__ = ("config", "audio_content")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CONTENT_FIELD_NUMBER: _ClassVar[int]
    config: RecognitionConfig
    audio_content: bytes
    def __init__(self, config: _Optional[_Union[RecognitionConfig, _Mapping]] = ..., audio_content: _Optional[bytes] = ...) -> None: ...

class TranscribeChunksResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SpeechRecognitionResult]
    def __init__(self, results: _Optional[_Iterable[_Union[SpeechRecognitionResult, _Mapping]]] = ...) -> None: ...

class TranscribeStreamRequest(_message.Message):
    __slots__ = ("config", "audio_content", "streaming_config", "end_segment")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CONTENT_FIELD_NUMBER: _ClassVar[int]
    STREAMING_CONFIG_FIELD_NUMBER: _ClassVar[int]
    END_SEGMENT_FIELD_NUMBER: _ClassVar[int]
    config: RecognitionConfig
    audio_content: bytes
    streaming_config: StreamingRecognitionConfig
    end_segment: EndSegment
    def __init__(self, config: _Optional[_Union[RecognitionConfig, _Mapping]] = ..., audio_content: _Optional[bytes] = ..., streaming_config: _Optional[_Union[StreamingRecognitionConfig, _Mapping]] = ..., end_segment: _Optional[_Union[EndSegment, _Mapping]] = ...) -> None: ...

class StreamingRecognitionConfig(_message.Message):
    __slots__ = ("config", "single_utterance", "interim_results", "look_ahead", "endpointing_config", "latency")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    SINGLE_UTTERANCE_FIELD_NUMBER: _ClassVar[int]
    INTERIM_RESULTS_FIELD_NUMBER: _ClassVar[int]
    LOOK_AHEAD_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTING_CONFIG_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    config: RecognitionConfig
    single_utterance: bool
    interim_results: bool
    look_ahead: _duration_pb2.Duration
    endpointing_config: EndpointingConfig
    latency: Latency
    def __init__(self, config: _Optional[_Union[RecognitionConfig, _Mapping]] = ..., single_utterance: bool = ..., interim_results: bool = ..., look_ahead: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., endpointing_config: _Optional[_Union[EndpointingConfig, _Mapping]] = ..., latency: _Optional[_Union[Latency, str]] = ...) -> None: ...

class EndpointingConfig(_message.Message):
    __slots__ = ("rule1_min_trailing_silence", "rule2_min_trailing_silence", "rule3_min_utterance_length")
    RULE1_MIN_TRAILING_SILENCE_FIELD_NUMBER: _ClassVar[int]
    RULE2_MIN_TRAILING_SILENCE_FIELD_NUMBER: _ClassVar[int]
    RULE3_MIN_UTTERANCE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    rule1_min_trailing_silence: _duration_pb2.Duration
    rule2_min_trailing_silence: _duration_pb2.Duration
    rule3_min_utterance_length: _duration_pb2.Duration
    def __init__(self, rule1_min_trailing_silence: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., rule2_min_trailing_silence: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., rule3_min_utterance_length: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class EndSegment(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TranscribeStreamResponse(_message.Message):
    __slots__ = ("started", "result", "results")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    started: StreamStarted
    result: SpeechRecognitionResult
    results: StreamingRecognitionResults
    def __init__(self, started: _Optional[_Union[StreamStarted, _Mapping]] = ..., result: _Optional[_Union[SpeechRecognitionResult, _Mapping]] = ..., results: _Optional[_Union[StreamingRecognitionResults, _Mapping]] = ...) -> None: ...

class StreamingRecognitionResults(_message.Message):
    __slots__ = ("results", "speech_event_type")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    SPEECH_EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[StreamingRecognitionResult]
    speech_event_type: SpeechEventType
    def __init__(self, results: _Optional[_Iterable[_Union[StreamingRecognitionResult, _Mapping]]] = ..., speech_event_type: _Optional[_Union[SpeechEventType, str]] = ...) -> None: ...

class StreamingRecognitionResult(_message.Message):
    __slots__ = ("alternatives", "is_final", "stability", "result_end_time", "segment_start_time", "channel_tag")
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    STABILITY_FIELD_NUMBER: _ClassVar[int]
    RESULT_END_TIME_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_START_TIME_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_TAG_FIELD_NUMBER: _ClassVar[int]
    alternatives: _containers.RepeatedCompositeFieldContainer[SpeechRecognitionAlternative]
    is_final: bool
    stability: float
    result_end_time: _duration_pb2.Duration
    segment_start_time: _duration_pb2.Duration
    channel_tag: int
    def __init__(self, alternatives: _Optional[_Iterable[_Union[SpeechRecognitionAlternative, _Mapping]]] = ..., is_final: bool = ..., stability: _Optional[float] = ..., result_end_time: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., segment_start_time: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., channel_tag: _Optional[int] = ...) -> None: ...

class StreamStarted(_message.Message):
    __slots__ = ("model", "answers_at_end", "max_audio", "look_ahead", "chunk")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_AT_END_FIELD_NUMBER: _ClassVar[int]
    MAX_AUDIO_FIELD_NUMBER: _ClassVar[int]
    LOOK_AHEAD_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    model: str
    answers_at_end: bool
    max_audio: _duration_pb2.Duration
    look_ahead: _duration_pb2.Duration
    chunk: _duration_pb2.Duration
    def __init__(self, model: _Optional[str] = ..., answers_at_end: bool = ..., max_audio: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., look_ahead: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., chunk: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "is_default", "sample_rate_hertz", "answers_at_end", "vocabulary_size", "frame_step", "default_decoder", "decoders", "fingerprint", "has_language_model", "language_code")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_AT_END_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    FRAME_STEP_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_DECODER_FIELD_NUMBER: _ClassVar[int]
    DECODERS_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    HAS_LANGUAGE_MODEL_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    name: str
    is_default: bool
    sample_rate_hertz: int
    answers_at_end: bool
    vocabulary_size: int
    frame_step: _duration_pb2.Duration
    default_decoder: str
    decoders: _containers.RepeatedScalarFieldContainer[str]
    fingerprint: str
    has_language_model: bool
    language_code: str
    def __init__(self, name: _Optional[str] = ..., is_default: bool = ..., sample_rate_hertz: _Optional[int] = ..., answers_at_end: bool = ..., vocabulary_size: _Optional[int] = ..., frame_step: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., default_decoder: _Optional[str] = ..., decoders: _Optional[_Iterable[str]] = ..., fingerprint: _Optional[str] = ..., has_language_model: bool = ..., language_code: _Optional[str] = ...) -> None: ...

class SpeechRecognitionResult(_message.Message):
    __slots__ = ("alternatives", "result_end_time", "posteriors", "channel_tag")
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    RESULT_END_TIME_FIELD_NUMBER: _ClassVar[int]
    POSTERIORS_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_TAG_FIELD_NUMBER: _ClassVar[int]
    alternatives: _containers.RepeatedCompositeFieldContainer[SpeechRecognitionAlternative]
    result_end_time: _duration_pb2.Duration
    posteriors: Posteriors
    channel_tag: int
    def __init__(self, alternatives: _Optional[_Iterable[_Union[SpeechRecognitionAlternative, _Mapping]]] = ..., result_end_time: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., posteriors: _Optional[_Union[Posteriors, _Mapping]] = ..., channel_tag: _Optional[int] = ...) -> None: ...

class Posteriors(_message.Message):
    __slots__ = ("frame_step", "tokens", "probabilities")
    FRAME_STEP_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    frame_step: _duration_pb2.Duration
    tokens: _containers.RepeatedScalarFieldContainer[str]
    probabilities: bytes
    def __init__(self, frame_step: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., tokens: _Optional[_Iterable[str]] = ..., probabilities: _Optional[bytes] = ...) -> None: ...

class SpeechRecognitionAlternative(_message.Message):
    __slots__ = ("transcript", "confidence", "words", "score", "search_proof", "acoustic_score", "lm_score", "bonus_score", "spoken_transcript", "spoken_words")
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SEARCH_PROOF_FIELD_NUMBER: _ClassVar[int]
    ACOUSTIC_SCORE_FIELD_NUMBER: _ClassVar[int]
    LM_SCORE_FIELD_NUMBER: _ClassVar[int]
    BONUS_SCORE_FIELD_NUMBER: _ClassVar[int]
    SPOKEN_TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    SPOKEN_WORDS_FIELD_NUMBER: _ClassVar[int]
    transcript: str
    confidence: float
    words: _containers.RepeatedCompositeFieldContainer[WordInfo]
    score: float
    search_proof: SearchProof
    acoustic_score: float
    lm_score: float
    bonus_score: float
    spoken_transcript: str
    spoken_words: _containers.RepeatedCompositeFieldContainer[WordInfo]
    def __init__(self, transcript: _Optional[str] = ..., confidence: _Optional[float] = ..., words: _Optional[_Iterable[_Union[WordInfo, _Mapping]]] = ..., score: _Optional[float] = ..., search_proof: _Optional[_Union[SearchProof, str]] = ..., acoustic_score: _Optional[float] = ..., lm_score: _Optional[float] = ..., bonus_score: _Optional[float] = ..., spoken_transcript: _Optional[str] = ..., spoken_words: _Optional[_Iterable[_Union[WordInfo, _Mapping]]] = ...) -> None: ...

class WordInfo(_message.Message):
    __slots__ = ("start_time", "end_time", "word", "confidence")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    WORD_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    start_time: _duration_pb2.Duration
    end_time: _duration_pb2.Duration
    word: str
    confidence: float
    def __init__(self, start_time: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., end_time: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., word: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...
