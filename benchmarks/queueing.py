"""Servers with places and cores, a balancer and an autoscaler, simulated call by call.

A server begins its calls in the order that they came. As many as it has slots are computed at a
time and share its cores, at most one for each; beyond its places it refuses. With as many slots as
cores that is a G/G/c/K queue. The autoscaler is Kubernetes' horizontal one: so many servers that
the processors are used as its target says. Times are in seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Autoscaler", "Call", "Capacity", "Outcome", "SimulatedServer", "poisson", "simulate"]

Call = tuple[float, float]  # when it comes; seconds that a core needs for it


@dataclass(frozen=True)
class Capacity:
    """What one server can do.

    Attributes:
        cores: that compute.
        slots: calls that are computed at a time; None: as many as cores.
        places: calls that it takes in, ``--running`` and ``--waiting`` together.
        refusal: seconds of a core that a refused call costs.
        batched: the work of a call that had to wait, by that of one alone: it shares a batch.
    """

    cores: int = 2
    slots: int | None = None
    places: int = 128
    refusal: float = 0.0003
    batched: float = 1.0


@dataclass(frozen=True)
class Autoscaler:
    """Kubernetes' HorizontalPodAutoscaler with its defaults, and how long a server takes to start.

    Attributes:
        target: share of the processors' time that is to be used.
        least, most: servers.
        period: between two looks.
        tolerance: nothing changes where use is that near to the target, as a share of it.
        settle: as few servers as the most that were wanted in this time.
        start: from the wish for a server until it takes calls.
    """

    target: float = 0.7
    least: int = 2
    most: int = 10
    period: float = 15.0
    tolerance: float = 0.1
    settle: float = 300.0
    start: float = 30.0


@dataclass
class Outcome:
    """What became of all calls."""

    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    server_seconds: float = 0.0
    most_servers: int = 0

    @property
    def refused_share(self) -> float:
        """Of all calls."""
        return self.refused / max(1, self.refused + len(self.latencies))

    def percentile(self, share: float) -> float:
        """Seconds from a call to its answer."""
        return float(np.percentile(self.latencies, share)) if self.latencies else math.nan


@dataclass
class _Job:
    """Seconds of a core that are left; when it came (None: it is a refusal, that nobody awaits)."""

    left: float
    came: float | None


class SimulatedServer:
    """One server; ``ready`` is when it takes its first call. ``outcome`` is told of its calls."""

    def __init__(self, capacity: Capacity, outcome: Outcome, ready: float = 0.0) -> None:
        self.ready = ready
        self.used = 0.0  # seconds that its cores have worked
        self._capacity = capacity
        self._outcome = outcome
        self._slots = capacity.slots or capacity.cores
        self._now = ready
        self._running: list[_Job] = []
        self._waiting: deque[_Job] = deque()
        self._calls = 0

    def calls(self, now: float) -> int:
        """Calls that are here."""
        self.advance(now)
        return self._calls

    def arrive(self, now: float, work: float) -> None:
        """Take a call, or refuse it."""
        self.advance(now)
        if self._calls >= self._capacity.places:
            self._outcome.refused += 1
            self._running.append(_Job(self._capacity.refusal, None))
            return
        begins = self._calls < self._slots
        self._calls += 1
        if begins:
            self._running.append(_Job(work, now))
        else:
            self._waiting.append(_Job(work * self._capacity.batched, now))

    def advance(self, now: float) -> None:
        """Compute until ``now``."""
        while self._running and self._now < now:
            pace = min(1.0, self._capacity.cores / len(self._running))
            first = min(self._running, key=lambda job: job.left)
            ends = self._now + first.left / pace
            step = first.left if ends <= now else (now - self._now) * pace
            self.used += step * len(self._running)
            for job in self._running:
                job.left -= step
            self._now = min(ends, now)
            if ends <= now:
                self._end(first)
        self._now = max(self._now, now)

    def _end(self, job: _Job) -> None:
        self._running.remove(job)
        if job.came is None:
            return
        self._outcome.latencies.append(self._now - job.came)
        self._calls -= 1
        if self._waiting:
            self._running.append(self._waiting.popleft())


def poisson(
    rates: Sequence[float], step: float, works: Sequence[float], seed: int = 0
) -> list[Call]:
    """Calls at random: ``rates[n]`` a second in the n-th ``step``, each with one of ``works``."""
    rng, calls = np.random.default_rng(seed), []
    for number, rate in enumerate(rates):
        count = rng.poisson(rate * step)
        times = number * step + np.sort(rng.uniform(0, step, count))
        calls += list(zip(times.tolist(), rng.choice(works, count).tolist(), strict=True))
    return calls


def simulate(
    calls: Iterable[Call],
    capacity: Capacity,
    autoscaler: Autoscaler | None = None,
    servers: int = 1,
) -> Outcome:
    """Give each of ``calls``, in order of time, to the server with the fewest.

    There are ``servers`` of them from the first moment, and as many as the ``autoscaler`` wants
    after its first look. A server that is wanted no more ends the calls that it has.
    """
    outcome = Outcome(most_servers=servers)
    fleet = _Fleet(capacity, autoscaler, servers, outcome)
    for now, work in calls:
        fleet.look(now)
        fleet.choose(now).arrive(now, work)
    fleet.finish()
    return outcome


class _Fleet:
    """The servers that there are, and the autoscaler's memory."""

    def __init__(
        self, capacity: Capacity, autoscaler: Autoscaler | None, servers: int, outcome: Outcome
    ) -> None:
        self._capacity = capacity
        self._autoscaler = autoscaler
        self._outcome = outcome
        self._servers = [SimulatedServer(capacity, outcome) for _ in range(servers)]
        self._leaving: list[SimulatedServer] = []  # they end the calls that they have
        self._used = [0.0] * servers  # of each, at the last look
        self._wanted: list[tuple[float, int]] = []
        self._looked = 0.0
        self._seen = 0.0

    def choose(self, now: float) -> SimulatedServer:
        """The one with the fewest calls, of those that take any."""
        ready = [server for server in self._servers if server.ready <= now]
        return min(ready, key=lambda server: server.calls(now))

    def look(self, now: float) -> None:
        """Let the autoscaler do all that it does until ``now``."""
        while self._autoscaler and now >= self._looked + self._autoscaler.period:
            self._looked += self._autoscaler.period
            self._count(self._looked)
            self._scale(self._looked, self._autoscaler)
        self._count(now)

    def _count(self, now: float) -> None:
        self._outcome.server_seconds += (now - self._seen) * len(self._servers)
        self._seen = now

    def _scale(self, now: float, autoscaler: Autoscaler) -> None:
        """``ceil(servers * use / target)``, no more than twice as many or four more at a time."""
        ready = [n for n, server in enumerate(self._servers) if server.ready < now]
        for server in self._servers:
            server.advance(now)
        used = [server.used for server in self._servers]
        spent = sum(used[n] - self._used[n] for n in ready)
        possible = autoscaler.period * self._capacity.cores * autoscaler.target
        wanted = len(self._servers)
        ratio = spent / (possible * max(1, len(ready)))
        if ratio > 1:  # those that start are counted as if they had nothing to do
            ratio = max(1.0, spent / (possible * wanted))
        if abs(ratio - 1) > autoscaler.tolerance:
            wanted = math.ceil(spent / possible)
        wanted = min(wanted, max(2 * len(self._servers), len(self._servers) + 4))
        wanted = min(max(wanted, autoscaler.least), autoscaler.most)
        self._wanted = [w for w in self._wanted if w[0] > now - autoscaler.settle]
        self._wanted.append((now, wanted))
        self._become(max(wanted for _, wanted in self._wanted), now + autoscaler.start)
        self._used = [server.used for server in self._servers]

    def _become(self, count: int, ready: float) -> None:
        count = max(count, 1)
        # Those that are ready stay: what is left is of the front, where the oldest are.
        self._leaving += self._servers[count:]
        del self._servers[count:]
        while len(self._servers) < count:
            self._servers.append(SimulatedServer(self._capacity, self._outcome, ready))
        self._outcome.most_servers = max(self._outcome.most_servers, count)

    def finish(self) -> None:
        """Let all calls end."""
        for server in (*self._servers, *self._leaving):
            while server.calls(self._seen):
                self._seen += 1.0
