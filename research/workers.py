"""Where pieces of work run: threads of this process, or a Dask cluster, both through joblib."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib

from lockstep.errors import ConfigError

Run = Callable[[Iterable[Any]], Iterator[Any]]


@dataclass(frozen=True, kw_only=True)
class Workers:
    """`run` carries out joblib's delayed calls, `count` at a time, and gives back their results in order."""

    run: Run
    count: int


@contextmanager
def workers(jobs: int, cluster: str | None = None) -> Iterator[Workers]:
    """Yield workers.

    jobs      threads, -1 for one per core; compiled loops run beside each other in threads
    cluster   address of a Dask scheduler; ConfigError where Dask is not installed or nobody answers.
              A piece whose worker dies is run again by another one; each result is given back once
    """
    if cluster is None:
        count = joblib.effective_n_jobs(jobs)
        # Not joblib's own threads: its generator looks for results every 10 ms, a whole sweep may take 20.
        with ThreadPoolExecutor(count) as pool:
            yield Workers(run=lambda tasks: pool.map(_call, tasks), count=count)
        return
    with _client(cluster), joblib.parallel_config(backend="dask"):
        parallel = joblib.Parallel(n_jobs=-1, return_as="generator")
        yield Workers(run=parallel, count=joblib.effective_n_jobs(-1))


def _call(task: Any) -> Any:
    """Carry out one of joblib's delayed calls."""
    function, arguments, named = task
    return function(*arguments, **named)


def _client(cluster: str) -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ConfigError(
            f"cluster {cluster}: Dask is not installed; run scripts/environment.sh requirements-dev.lock"
        ) from error
    try:
        connect: Any = distributed.Client
        return connect(cluster, timeout="10s", set_as_default=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cluster {cluster}: no scheduler answers: {error}; check the address") from error
