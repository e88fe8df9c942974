"""Servers with places and cores, a balancer and an autoscaler, simulated call by call.

A server works on its calls in the order that they came, a core for each; beyond its places it
refuses. That is a G/G/c/K queue. The autoscaler is Kubernetes' horizontal one: so many servers that
the processors are used as its target says. Times are in seconds.
"""

from __future__ import annotations

import heapq
import math
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
        places: calls that it takes in, ``--running`` and ``--waiting`` together.
        refusal: seconds of a core that a refused call costs.
        batched: the work of a call that had to wait, by that of one alone: it shares a batch.
    """

    cores: int = 2
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


class SimulatedServer:
    """One server; ``ready`` is when it takes its first call."""

    def __init__(self, capacity: Capacity, ready: float = 0.0) -> None:
        self.ready = ready
        self._capacity = capacity
        self._free = [ready] * capacity.cores  # when each core has done all that it was given
        self._ends: list[float] = []  # of the calls that are here
        self._given = 0.0

    def calls(self, now: float) -> int:
        """Calls that are here."""
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        return len(self._ends)

    def used(self, now: float) -> float:
        """Seconds that its cores have worked until ``now``."""
        return self._given - sum(max(0.0, free - max(now, self.ready)) for free in self._free)

    def arrive(self, now: float, work: float) -> float | None:
        """Seconds until the call is answered; None: it is refused."""
        refused = self.calls(now) >= self._capacity.places
        begin = max(now, self._free[0])
        if refused:
            work = self._capacity.refusal
        elif begin > now:
            work *= self._capacity.batched
        heapq.heapreplace(self._free, begin + work)
        self._given += work
        if refused:
            return None
        heapq.heappush(self._ends, begin + work)
        return begin + work - now


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
    outcome, fleet = Outcome(), _Fleet(capacity, autoscaler, servers)
    for now, work in calls:
        fleet.look(now)
        latency = fleet.choose(now).arrive(now, work)
        if latency is None:
            outcome.refused += 1
        else:
            outcome.latencies.append(latency)
    outcome.server_seconds, outcome.most_servers = fleet.seconds, fleet.most
    return outcome


class _Fleet:
    """The servers that there are, and the autoscaler's memory."""

    def __init__(self, capacity: Capacity, autoscaler: Autoscaler | None, servers: int) -> None:
        self._capacity = capacity
        self._autoscaler = autoscaler
        self._servers = [SimulatedServer(capacity) for _ in range(servers)]
        self._used = [0.0] * servers  # of each, at the last look
        self._wanted: list[tuple[float, int]] = []
        self._looked = 0.0
        self._seen = 0.0
        self.seconds = 0.0
        self.most = servers

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
        self.seconds += (now - self._seen) * len(self._servers)
        self._seen = now

    def _scale(self, now: float, autoscaler: Autoscaler) -> None:
        """``ceil(servers * use / target)``, no more than twice as many or four more at a time."""
        ready = [n for n, server in enumerate(self._servers) if server.ready < now]
        used = [server.used(now) for server in self._servers]
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
        self._used = [server.used(now) for server in self._servers]

    def _become(self, count: int, ready: float) -> None:
        count = max(count, 1)
        # Those that are ready stay: what is left is of the front, where the oldest are.
        del self._servers[count:]
        while len(self._servers) < count:
            self._servers.append(SimulatedServer(self._capacity, ready))
        self.most = max(self.most, count)
