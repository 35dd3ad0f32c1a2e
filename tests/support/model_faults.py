"""Processes that die or collide while they write a model store; run in an interpreter of its own.

    python -c "from support.model_faults import killed; killed('FOLDER', 'promote')"

prints one JSON list. The interpreter has loaded everything once, and forks a child per fault.
"""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockstep.errors import ModelError
from lockstep.models import manifest_file, store, verbs
from lockstep.models.bundle import Bundle
from lockstep.models.manifest import Manifest
from lockstep.models.store import ModelStore
from support.models import NOW, RECORD, make_bundle

_CALLS = ("open", "write", "fsync", "close", "replace")
_PORTIONS = 24


def killed(folder: str, verb: str, *, in_place: bool = False) -> None:
    """Kill a process before each system call of a verb and within each write; print what is found then."""
    models = _prepared(Path(folder))
    if in_place:
        manifest_file.replace_file = store.replace_file = _written_in_place
    found = []
    for fault in _faults():
        before = models.manifest()
        died = _in_child(lambda fault=fault: _with_fault(fault, lambda: _do(models, verb)))
        found.append({"fault": str(fault), "died": died, "state": _state(models, before)})
        if found[-1]["state"] == "damaged":
            break
    print(json.dumps(found))


def collided(folder: str, processes: int) -> None:
    """Let processes register, promote and use a version each, all at once; print what the store holds."""
    models = ModelStore(Path(folder))
    bundle = _bundle()

    def work() -> None:
        version = models.register(bundle, record=RECORD, by=str(os.getpid()), now=NOW)
        models.promote("ES", version, by=str(os.getpid()), now=NOW, reason="test", force=True)
        models.used("ES", version, now=NOW)

    _together(work, processes)
    manifest = models.manifest()
    model = manifest.model("ES")
    print(json.dumps({
        "versions": len(model.versions),
        "registered": sum(entry.action == "register" for entry in manifest.history),
        "promoted": sum(entry.action == "promote" for entry in manifest.history),
        "used": sum(entry.use.count for entry in model.versions.values()),
        "writers": len({entry.by for entry in manifest.history}),
        "production": sum(entry.status == "production" for entry in model.versions.values()),
        "intact": _state(models, manifest),
    }))  # fmt: skip


def unlocked(folder: str) -> None:
    """Let two processes count a use without the lock, both having read before one writes; print the count."""
    models = _prepared(Path(folder))
    both = multiprocessing.get_context("fork").Barrier(2)
    counted = verbs.used

    def meeting(manifest: Manifest, *arguments: Any) -> Manifest:
        both.wait(30)
        return counted(manifest, *arguments)

    verbs.used = meeting
    store.locked = lambda _: contextlib.nullcontext()
    manifest_file.remove_leftovers = lambda _: None
    _together(lambda: models.used("ES", "v1", now=NOW), 2)
    print(json.dumps(models.manifest().entry("ES", "v1").use.count))


@functools.cache
def _bundle() -> Bundle:
    return make_bundle()


def _prepared(folder: Path) -> ModelStore:
    models = ModelStore(folder)
    for threshold in (0.5, 0.6):
        models.register(replace(_bundle(), threshold=threshold), record=RECORD, by="me", now=NOW)
    models.promote("ES", "v1", by="me", now=NOW, reason="test", force=True)
    return models


def _do(models: ModelStore, verb: str) -> None:
    if verb == "register":
        models.register(_bundle(), record=RECORD, by="me", now=NOW)
    else:
        other = "v2" if models.manifest().resolve("ES") == "v1" else "v1"
        models.promote("ES", other, by="me", now=NOW, reason="test", force=True)


def _state(models: ModelStore, before: Manifest) -> str:
    """Return `old`, `new` or `damaged`; every version that the manifest names must have its file."""
    try:
        manifest = models.manifest()
        for entry in manifest.model("ES").versions.values():
            models.content(entry)
    except ModelError:
        return "damaged"
    if manifest == before:
        return "old"
    return "new" if manifest.history[:-1] == before.history else "damaged"


def _faults() -> Iterator[tuple[str, int]]:
    yield from (("call", number) for number in range(24))
    yield from (("portion", number) for number in range(_PORTIONS))


def _with_fault(fault: tuple[str, int], act: Callable[[], None]) -> None:
    kind, number = fault
    if kind == "call":
        seen = iter(range(10**6))
        for name in _CALLS:
            setattr(os, name, _dying(getattr(os, name), lambda: next(seen) == number))
    else:
        os.write = _dying_within(os.write, number / _PORTIONS)
    act()


def _of_the_store(arguments: tuple[Any, ...]) -> bool:
    # The lock's own calls are not faults of the writer.
    return not str(arguments[0]).endswith(".lock")


def _dying(real: Callable[..., Any], now: Callable[[], bool]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        if _of_the_store(arguments) and now():
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)

    return call


def _dying_within(real: Callable[..., int], portion: float) -> Callable[..., int]:
    def call(handle: int, content: memoryview) -> int:
        real(handle, content[: int(portion * len(content))])
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    return call


def _written_in_place(path: Path, content: bytes) -> None:
    """Write without a second file: the mutant."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.write(handle, memoryview(content))
    os.close(handle)


def _together(work: Callable[[], None], processes: int) -> None:
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=work) for _ in range(processes)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0


def _in_child(act: Callable[[], None]) -> bool:
    """Run `act` in a forked process; whether it was killed."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)
