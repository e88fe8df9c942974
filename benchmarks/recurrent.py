"""The recurrent layer and the acoustic model against their peers: ``make bench``.

Prints Markdown. On a machine with a GPU, ``python -m benchmarks.recurrent --device cuda`` measures
the Triton kernel against cuDNN.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from asr.backends import AUTO, BACKENDS, make_backend, make_chunk_backend
from asr.bundle import load_bundle
from asr.bundle.shipped import shipped_bundle
from asr.machine import describe_machine
from asr.nn.kernels import KERNELS
from asr.nn.layer import pack_weights
from asr.nn.model import PEER, AcousticModel, AcousticModelConfig, NetworkConfig
from asr.nn.recurrent import RecurrentStack
from asr.nn.torch_lstm import TorchLSTMStack
from benchmarks.loops import PythonLoop, script
from benchmarks.timing import Run, compare, markdown, note

FRAMES_PER_SECOND = 100
TORCH_LSTM = "nn.LSTM (no peepholes)"
PACKED = "nn.LSTM, PackedSequence"
CHUNK, LOOK_AHEAD = 12, 15  # frames of log-probabilities
LOOPS = "TorchScript loop", "Python loop"
LOOPS_MOST = 8  # utterances: more take seconds a step


def main() -> None:
    """Measure what the device can run, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.recurrent")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=int, help="of the CPU (default: torch's own choice)")
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison (default: 5)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    torch.manual_seed(0)
    print(f"{describe_machine(device)}. Medians of {options.rounds} rounds in turns.\n")
    if device.type == "cuda":
        for precision in ("float32", "tf32", "bfloat16"):
            for H in (320, 512):
                layer_table(device, (16, 32, 64), 800, 2 * H, H, options.rounds, precision)
        return
    layer_table(device, (1, 8, 32), 400, 640, 320, options.rounds)
    cell_table(device, options.rounds)
    ragged_table(device, options.rounds)
    memory_table(device, options.rounds)
    model_table(options.rounds)
    stream_table(options.rounds)


def print_table(title: str, head: list[str], rows: Mapping[str, list[str]]) -> None:
    """One Markdown table; rows by their first cell."""
    print(f"**{title}**\n")
    for cells in (head, ["---"] * len(head), *([name, *cells] for name, cells in rows.items())):
        print("| " + " | ".join(cells) + " |")
    print(flush=True)


# One layer


def layer_table(
    device: torch.device,
    batches: tuple[int, ...],
    T: int,
    input_size: int,
    H: int,
    rounds: int,
    precision: str = "float32",
) -> None:
    """Every kernel and the loops, forward alone and forward + backward, by batch."""
    layers = contenders(device, input_size, H)
    rows: dict[str, list[str]] = {name: [] for name in layers}
    head = ["ms, times as fast as nn.LSTM"]
    for B in batches:
        for train in (False, True):
            head.append(f"B={B} {'training' if train else 'forward'}")
            note(f"layer, {precision}, {head[-1]}")
            x = torch.randn(T, B, input_size, device=device, requires_grad=train)
            fast = {n: layer for n, layer in layers.items() if B <= LOOPS_MOST or n not in LOOPS}
            with computing_in(precision, device):
                runs = {name: step(layer, x, train) for name, layer in fast.items()}
                cells = markdown(compare(runs, device, rounds), TORCH_LSTM)
            for name in layers:
                time, ratio = cells.get(name, ("", ""))
                rows[name].append(time and f"{time.removesuffix(' ms')} ({ratio})")
    print_table(
        f"One bidirectional layer, T={T}, input {input_size}, H={H}, {precision}", head, rows
    )


def contenders(
    device: torch.device, input_size: int, H: int
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Bidirectional layers, as functions of ``x (T, B, I)``."""
    lstm = nn.LSTM(input_size, H, bidirectional=True).to(device)
    loop = PythonLoop(input_size, H).to(device)
    scripted = script(loop)
    layers: dict[str, Callable[[Tensor], Tensor]] = {TORCH_LSTM: lambda x: lstm(x)[0]}
    for name, kernel in KERNELS.items():
        if device.type == "cuda" and name == "reference":
            continue  # every operation of a step is a launch: seconds
        if kernel.objection(torch.zeros(1, device=device), projection=False) is None:
            layers[f"peephole, kernel {name}"] = ours(input_size, H, device, kernel=name)
    if device.type == "cpu":
        layers |= dict(zip(LOOPS, (scripted, loop), strict=True))
    return layers


def ours(
    input_size: int, H: int, device: torch.device, **options: object
) -> Callable[[Tensor], Tensor]:
    """One bidirectional layer of ours, its weights packed for inference."""
    stack = RecurrentStack(input_size, H, bidirectional=True, **options).to(device)  # type: ignore[arg-type]
    pack_weights(stack)
    return lambda x: stack(x)[0]


def step(layer: Callable[[Tensor], Tensor], x: Tensor, train: bool) -> Run:
    """One forward pass, or forward and backward with fresh gradients."""

    def run() -> None:
        with torch.set_grad_enabled(train):
            y = layer(x)
        if train:
            x.grad = None
            y.backward(torch.ones_like(y))

    return run


@contextmanager
def computing_in(precision: str, device: torch.device) -> Iterator[None]:
    """float32, tf32 or bfloat16 by autocast."""
    allow = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allow
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        yield


def cell_table(device: torch.device, rounds: int) -> None:
    """The lineage on the fastest kernel."""
    B, T, input_size, H = 8, 400, 640, 320
    lstm = nn.LSTM(input_size, H, bidirectional=True)
    layers: dict[str, Callable[[Tensor], Tensor]] = {TORCH_LSTM: lambda x: lstm(x)[0]}
    for cell in ("rnn", "lstm-1997", "lstm", "peephole", "coupled"):
        layers[f"`{cell}`"] = ours(input_size, H, device, cell=cell)
    layers["`peephole`, projection to 160"] = ours(input_size, H, device, proj_size=160)
    note("cells")
    x = torch.randn(T, B, input_size, requires_grad=True)
    seconds = compare({n: step(layer, x, True) for n, layer in layers.items()}, device, rounds)
    rows = {name: list(cells) for name, cells in markdown(seconds, TORCH_LSTM).items()}
    print_table(
        f"Cells, forward + backward, B={B}, T={T}, input {input_size}, H={H}",
        ["cell", "time", "times as fast as nn.LSTM"],
        rows,
    )


# Unequal lengths


def ragged_table(device: torch.device, rounds: int) -> None:
    """A training step of a stack on utterances of 30 to 90 frames."""
    B, T, size = 16, 90, (120, 192, 3)
    x = torch.randn(B, T, size[0], requires_grad=True)
    lengths = torch.linspace(T // 3, T, B).long()
    lstm = nn.LSTM(*size, bidirectional=True, batch_first=True)
    peer = TorchLSTMStack(*size, bidirectional=True)
    runs = {
        PACKED: lambda x: (
            lstm(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[0].data
        ),
        "nn.LSTM a direction, left-aligned": lambda x: peer(x, lengths=lengths)[0],
    }
    for name in ("cpu", "reference"):
        if not KERNELS[name].missing:
            stack = RecurrentStack(*size, bidirectional=True, batch_first=True, kernel=name)
            runs[f"peephole, kernel {name}"] = lambda x, s=stack: s(x, lengths=lengths)[0]
    note("unequal lengths")
    seconds = compare({n: step(run, x, True) for n, run in runs.items()}, device, rounds)
    rows = {name: list(cells) for name, cells in markdown(seconds, PACKED).items()}
    print_table(
        f"Unequal lengths: a training step of 3x192, B={B}, {T // 3} to {T} frames",
        ["stack", "time", "times as fast as packed nn.LSTM"],
        rows,
    )


# Memory


def memory_table(device: torch.device, rounds: int) -> None:
    """What a stack keeps for backward, with and without recomputation, and what that costs."""
    B, T, size = 4, 3000, (123, 320, 3)
    x = torch.randn(T, B, size[0], requires_grad=True)
    stacks = {
        "kept": RecurrentStack(*size, bidirectional=True),
        "recomputed": RecurrentStack(*size, bidirectional=True, recompute=True),
    }
    note("memory")
    runs = {name: step(lambda x, s=stack: s(x)[0], x, True) for name, stack in stacks.items()}
    times = markdown(compare(runs, device, max(1, rounds // 2)), "kept", 1e-3, "s")
    cells = B * T * 2 * size[1] * size[2]
    rows = {}
    for name, stack in stacks.items():
        kept = kept_bytes(stack, x)
        rows[name] = [f"{kept / 1e6:.0f} MB", f"{kept / cells:.1f}", times[name][0]]
    print_table(
        f"Memory of a peephole 3x320, B={B}, T={T}",
        ["states for backward", "kept after forward", "bytes a frame and cell", "training step"],
        rows,
    )


def kept_bytes(stack: nn.Module, x: Tensor) -> int:
    """Bytes that autograd keeps after a forward pass, each storage once, without weights and x."""
    known = {p.untyped_storage().data_ptr() for p in [*stack.parameters(), x]}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = stack(x)  # held, so that no storage's address is used twice
    del output
    return sum(kept.values())


# The whole acoustic model


def model_table(rounds: int) -> None:
    """Log-probabilities against real time, on every backend."""
    F, V, seconds = 123, 62, 10
    T = seconds * FRAMES_PER_SECOND
    models = {
        f"torch, `{cell}`": AcousticModel(
            AcousticModelConfig(F, V, NetworkConfig(320, 3, cell))
        ).eval()
        for cell in (PEER, "peephole")
    }
    runs = {name: make_backend("torch", model) for name, model in models.items()}
    for backend in ("int8", "onnx", "onnx-int8"):
        runs[f"{backend}, `peephole`"] = make_backend(backend, models["torch, `peephole`"])
    rows: dict[str, list[str]] = {name: [] for name in runs}
    head = ["backend"]
    peer = next(iter(runs))
    for B in (1, 16):
        head += [f"B={B}: times real time", "times as fast as nn.LSTM"]
        note(f"acoustic model, {head[-2]}")
        x, lengths = torch.randn(B, T, F), torch.full((B,), T)
        with torch.inference_mode():
            calls = {name: partial(run, x, lengths) for name, run in runs.items()}
            times = compare(calls, torch.device("cpu"), rounds)
        for name, (_, ratio) in markdown(times, peer).items():
            fastness = B * seconds / sorted(times[name])[rounds // 2]
            rows[name] += [f"{fastness:.0f}", ratio]
    print_table(
        f"The acoustic model 3x320, {F} features, {FRAMES_PER_SECOND} frames a second, "
        f"utterances of {seconds} s",
        head,
        rows,
    )


def stream_table(rounds: int) -> None:
    """What a chunk of several streams takes, on one thread as a server's worker has it."""
    model = load_bundle(shipped_bundle()).model.eval()
    look_ahead = CHUNK + LOOK_AHEAD
    frames = look_ahead * model.config.network.reduction
    chunked = {name: make_chunk_backend(name, model) for name in BACKENDS if name != AUTO}
    rows: dict[str, list[str]] = {name: [] for name in chunked}
    head = ["ms for a chunk of each stream"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for B in (1, 4, 15, 30):
        head.append("1 stream" if B == 1 else str(B))
        note(f"streams, {head[-1]}")
        x, lengths = torch.randn(B, frames, model.config.input_size), torch.full((B,), frames)
        window, states = torch.tensor([[0, look_ahead]] * B), model.initial_states(B)
        with torch.inference_mode():
            calls = {
                name: partial(one.chunk, x, lengths, window, CHUNK, states)
                for name, one in chunked.items()
            }
            times = compare(calls, torch.device("cpu"), rounds)
        for name, seconds in times.items():
            rows[name].append(f"{1e3 * sorted(seconds)[rounds // 2]:.3g}")
    torch.set_num_threads(threads)
    print_table(
        f"Streams: {CHUNK} frames of 40 ms with {LOOK_AHEAD} of look-ahead, the model that ships, "
        "1 thread",
        head,
        rows,
    )


if __name__ == "__main__":
    main()
