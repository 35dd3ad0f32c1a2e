"""The one door to a Dask cluster: joblib's delayed calls run on the workers of a scheduler.

Not by joblib's own backend: it keeps what it sends on one worker, and waits for ever where that one dies.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lockstep.errors import ClusterError

# What is larger, pickled, is sent to all workers once; the rest travels with each call.
_LARGE_BYTES = 1_000_000
_PATIENCE = "10s"


@dataclass(frozen=True, kw_only=True, eq=False)
class Scheduler:
    """A connection to a Dask scheduler; `count` threads of all its workers."""

    address: str
    client: Any
    count: int
    _sent: dict[int, tuple[Any, Any]] = field(default_factory=dict)

    def run(self, calls: Iterable[Any]) -> Iterator[Any]:
        """Yield what joblib's delayed calls return, in their order.

        A call whose worker dies is run again by another one. ClusterError where it died with each of them, or
        where no worker is left that holds what was sent.
        """
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        futures = [self._submit(*call) for call in calls]
        for each in futures:
            try:
                yield each.result()
            except (CancelledError, KilledWorker) as error:
                raise ClusterError(
                    f"cluster {self.address}: workers died with the work ({type(error).__name__}); look "
                    "at their logs and memory, then run it again: what was stored stays"
                ) from error

    def _submit(self, function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        read = [self._at_hand(each) for each in arguments]
        return self.client.submit(function, *read, **named, pure=False)

    def _at_hand(self, value: Any) -> Any:
        """Return the value, or what stands for it where it is large: then all workers have it."""
        known = self._sent.get(id(value))
        if known is None:
            large = len(pickle.dumps(value, pickle.HIGHEST_PROTOCOL)) > _LARGE_BYTES
            known = value, self.client.scatter(value, broadcast=True) if large else value
            # The value is kept, so that no other one takes its id.
            self._sent[id(value)] = known
        return known[1]


@contextmanager
def scheduler_at(cluster: str) -> Iterator[Scheduler]:
    """Connect to a Dask scheduler, `tcp://host:8786`; ClusterError without Dask, or where nobody answers."""
    try:
        import distributed
    except ImportError as error:
        raise ClusterError(
            f"cluster {cluster}: Dask is not installed; run scripts/environment.sh requirements-dev.lock"
        ) from error
    try:
        connect: Any = distributed.Client
        client = connect(cluster, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(f"cluster {cluster}: no scheduler answers: {error}; check the address") from error
    with client:
        count = sum(client.nthreads().values())
        if not count:
            raise ClusterError(f"cluster {cluster}: has no workers; start some, then run it again")
        yield Scheduler(address=cluster, client=client, count=count)


def require_workers(cluster: str | None) -> None:
    """Raise ClusterError where a scheduler is named that cannot be reached, or has no workers."""
    if cluster is not None:
        with scheduler_at(cluster):
            pass
