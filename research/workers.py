"""Where pieces of work run: threads of this process, or a Dask cluster, both through joblib."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import joblib

from lockstep.errors import ConfigError

Run = Callable[[Iterable[Any]], Iterator[Any]]


@contextmanager
def workers(jobs: int, cluster: str | None = None) -> Iterator[Run]:
    """Yield what runs joblib's delayed calls and gives back their results in order.

    jobs      threads, -1 for one per core; compiled loops run beside each other in threads
    cluster   address of a Dask scheduler; ConfigError where Dask is not installed or nobody answers.
              A piece whose worker dies is run again by another one; each result is given back once
    """
    if cluster is None:
        yield joblib.Parallel(n_jobs=jobs, backend="threading", return_as="generator")
        return
    with _client(cluster), joblib.parallel_config(backend="dask"):
        yield joblib.Parallel(n_jobs=-1, return_as="generator")


def _client(cluster: str) -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ConfigError(
            f"cluster {cluster}: Dask is not installed; pip install 'lockstep[cluster]'"
        ) from error
    try:
        connect: Any = distributed.Client
        return connect(cluster, timeout="10s", set_as_default=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cluster {cluster}: no scheduler answers: {error}; check the address") from error
