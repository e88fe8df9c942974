"""One recogniser of ``peer.py`` behind gRPC, as thin as can be: a WAV file in, its text out.

``PYTHON -m benchmarks.peer_server SYSTEM MODEL`` prints the port. It has a recogniser of one thread
for each core, and needs grpcio beside the peer's package. ``benchmarks/served_peers.py`` calls it.
"""

from __future__ import annotations

import io
import os
import sys
import wave
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import grpc
import numpy as np

from benchmarks.peer import SYSTEMS, Recognise

METHOD = ("benchmarks.Peer", "Recognise")


def main(system: str, model: str) -> None:
    """Serve until killed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free: Queue[Recognise] = Queue()
    for _ in range(cores or 1):
        free.put(SYSTEMS[system](model, 1)[0])

    def recognise(request: bytes, context: grpc.ServicerContext) -> bytes:
        with wave.open(io.BytesIO(request)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        mine = free.get()
        try:
            return mine(samples).encode()
        finally:
            free.put(mine)

    # More threads than recognisers: a call waits for one of these in the order that it came.
    server = grpc.server(ThreadPoolExecutor(64), options=[("grpc.so_reuseport", 0)])
    handler = grpc.unary_unary_rpc_method_handler(recognise)
    service, name = METHOD
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {name: handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
