"""Signals, heard from the first moment of a process: before what is slow is imported.

It imports next to nothing, so that the handlers are there some milliseconds after Python is.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["SIGNALS", "SignalInbox", "interrupt_quietly", "no_signals"]

STOPS = (signal.SIGTERM, signal.SIGINT)
SIGNALS = (*STOPS, signal.SIGHUP)


class SignalInbox:
    """What the outside asks of this process: SIGTERM and SIGINT stop it, SIGHUP reloads.

    ``with SignalInbox() as inbox:`` begins to listen, and takes what came blocked from the parent.
    Until :meth:`deliver` nothing is served: a stop ends the process at once with status 0, and a
    reload is kept. A second stop ends the process at once, by the signal.
    """

    def __init__(self) -> None:
        self._reload_asked = False
        self._stop_asked = False
        self._stop: Callable[[], object] | None = None
        self._reload: Callable[[], object] | None = None
        self._before: dict[signal.Signals, object] = {}
        self._pipe: tuple[int, ...] = ()  # that a loop sleeps on

    def __enter__(self) -> SignalInbox:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._hear)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self._pipe:
            signal.set_wakeup_fd(-1)
        for end in self._pipe:
            os.close(end)
        self._pipe = ()

    def deliver(
        self, loop: AbstractEventLoop, stop: Callable[[], object], reload: Callable[[], object]
    ) -> None:
        """Hand on from now on; both are called in the ``loop`` of the main thread.

        Python only notes a signal, and handles it when the main thread is awake again. The kernel
        wakes the thread that it gives the signal to, which may be another one, or the main thread
        the moment before it falls asleep. So whatever the thread, the loop is woken by a byte.
        """

        def hand_on(action: Callable[[], object]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(action)

        self._stop, self._reload = partial(hand_on, stop), partial(hand_on, reload)
        self._pipe = receiver, sender = os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)
        loop.add_reader(receiver, os.read, receiver, 64)
        signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
        if self._reload_asked:
            self._reload()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reload_asked = True
            if self._reload is not None:
                self._reload()
        elif self._stop_asked:
            _end_by(number)
        elif self._stop is None:
            os._exit(0)  # an exception would be caught by whatever is being imported
        else:
            self._stop_asked = True
            self._stop()


def _end_by(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # the first process of a container does not end by a signal


@contextmanager
def no_signals() -> Iterator[None]:
    """They wait meanwhile, and for good in a process that is started inside: until it takes them.

    Without this a stop that goes to the whole group ends a process that is not yet ready for it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def interrupt_quietly() -> Iterator[None]:
    """Ctrl-C inside ends the process by SIGINT, as it ends those not written in Python."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are none of its business
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
