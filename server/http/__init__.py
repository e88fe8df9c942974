"""The gateway: OpenAI's transcriptions by HTTP and live speech by WebSocket, for ``asr.v1``."""
