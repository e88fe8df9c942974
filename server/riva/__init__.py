"""The door for clients of NVIDIA Riva: ``nvidia.riva.asr.RivaSpeechRecognition``, on the same port.

A thin translation: its requests become those of ``asr.v1`` and go the same way, with the same
admission, limits and records. Its messages come with the package ``nvidia-riva-client``, of the
extra ``riva``; :mod:`server.riva.door` is the one module that can be imported without it.
"""
