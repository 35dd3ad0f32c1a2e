"""Damaged bundles and run folders, read in a process of their own that watches what the readers do.

    python -m support.fuzzing COUNT SEED        prints what was found as JSON

Case `n` of a seed is the same file however many are read. An audit hook notices a command, a file opened for
writing, a socket, an import, an unpickled name; limits notice a hang and a gigabyte.
"""

from __future__ import annotations

import faulthandler
import functools
import importlib
import io
import json
import os
import pickle
import pickletools
import random
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import tzdata

from lockstep.errors import BundleRefused, TrainingError, UnfitBundle
from lockstep.models.bundle import Bundle, bundle_bytes, bundle_of
from lockstep.models.definitions import changed_features
from lockstep.models.golden import verify_golden
from lockstep.models.pickling import pickled, unpickled
from research.training.outcome_file import attempt_bytes, attempt_of, outcome_bytes, outcome_of
from research.training.search import SearchAttempt
from support.families import ENSEMBLES, FAMILIES, REGRESSORS
from support.first_pickles import first_bundle
from support.hostile import ACTING, CRAFTED
from support.models import make_bundle, ranges, samples, zoo_bundle
from support.training import small_outcome

_ROOT = Path(__file__).resolve().parents[2]
_GIGABYTE, _SECONDS = 1 << 30, 20.0
_DEATHS = 5
# What no reader of data does. Files may be read, time zones and versions of libraries; LightGBM and XGBoost
# are called through ctypes.
FORBIDDEN = (
    "compile", "code.", "ctypes.dlopen", "ctypes.dlsym", "exec", "ftplib.", "function.", "import", "marshal.",
    "mmap.", "os.chmod", "os.chown", "os.exec", "os.fork", "os.kill", "os.link", "os.mkdir", "os.posix_spawn",
    "os.putenv", "os.remove", "os.rename", "os.rmdir", "os.spawn", "os.symlink", "os.system", "os.truncate",
    "os.utime", "pickle.", "pty.", "shutil.", "socket.", "sqlite3.", "subprocess.", "tempfile.", "urllib.",
    "webbrowser.",
)  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Violation(BaseException):
    """A reader did what no reader may do; no `except Exception` catches it."""


@dataclass(frozen=True)
class Target:
    """A good file, and how it is read: `read` raises `refusal` or returns a check of what it has read."""

    name: str
    content: bytes
    read: Callable[[bytes], object]
    refusal: type[Exception]


class Watch:
    """An audit hook that can be armed; an event that is forbidden ends what caused it.

    What was parsed before, our own sources for their fingerprints, may be parsed again.
    """

    def __init__(self) -> None:
        self.armed, self._allowed = False, ""
        self._parsed: set[Any] = set()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed:
            if event == "compile":
                self._parsed.add(arguments[0])
            return
        writes = event == "open" and (arguments[2] or 0) & _WRITING
        parses = event == "compile" and arguments[0] in self._parsed
        if writes or (event.startswith(FORBIDDEN) and event != self._allowed and not parses):
            raise Violation(f"{event} {str(arguments[:2])[:120]}")

    @contextmanager
    def watching(self, *, but: str = "") -> Iterator[None]:
        """Forbid while the block runs; `but`: an event that is allowed all the same."""
        self.armed, self._allowed = True, but
        try:
            yield
        finally:
            self.armed = False


def targets() -> list[Target]:
    """Return good files: bundles of every family, of all schemas, and what a run's folder holds."""
    _, features, target = samples()
    found = [
        Target(f"{name} 4", bundle_bytes(bundle), read_as_live, BundleRefused)
        for name, bundle in _models_of_the_zoo().items()
    ]
    for name, make in FAMILIES.items():
        bundle = make_bundle(pipeline=make().fit(features, target))
        found.append(Target(f"{name} 2", bundle_bytes(bundle), read_as_live, BundleRefused))
        found.append(Target(f"{name} 1", first_bundle(bundle), read_as_live, BundleRefused))
    outcome = small_outcome()
    step = attempt_bytes(SearchAttempt(parameters=outcome.steps[0].parameters, step=outcome.steps[0]))

    def read_outcome(content: bytes) -> None:
        again = outcome_bytes(outcome_of(content, "outcome"))
        _require(
            again == outcome_bytes(outcome_of(again, "outcome")), "an outcome changes when it is written"
        )

    def read_step(content: bytes) -> None:
        again = attempt_bytes(attempt_of(content, "step"))
        _require(again == attempt_bytes(attempt_of(again, "step")), "a step changes when it is written")

    found.append(Target("outcome", outcome_bytes(outcome), read_outcome, TrainingError))
    found.append(Target("step", step, read_step, TrainingError))
    return found


def _models_of_the_zoo() -> dict[str, Bundle]:
    """Return a model of every kind that only the zoo has: of values, and of states by ensembles."""
    _, features, target = samples()
    values = {name: make().fit(features, ranges()) for name, make in REGRESSORS.items()}
    states = {name: make().fit(features, target) for name, make in ENSEMBLES.items()}
    return {
        **{f"value of {name}": zoo_bundle(pipeline=each) for name, each in values.items()},
        **{f"state of {name}": zoo_bundle(pipeline=each, output="state") for name, each in states.items()},
    }


def read_as_live(content: bytes) -> None:
    """Read a bundle as `load_bundle` does, predictions included; what is accepted must be stable."""
    bundle = bundle_of(content, "bundle", symbol="ES")
    changed_features(bundle, "bundle")
    verify_golden(bundle.golden, bundle.feature_ids, bundle.pipeline, output=bundle.output)
    again = bundle_bytes(bundle)
    _require(again == bundle_bytes(bundle_of(again, "bundle")), "a bundle changes when it is written again")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Violation(what)


def damaged(rng: random.Random, known: list[Target]) -> tuple[Target, bytes]:
    """Return a target and its file after a few mutations."""
    target = rng.choice(known)
    content = bytearray(target.content)
    if rng.random() < 0.5:
        content = bytearray(_document_damaged(rng, target.content))
    else:
        for _ in range(rng.choice((1, 1, 2, 4))):
            rng.choice(_BYTES)(rng, content, known)
    return target, bytes(content)


def _flip(rng: random.Random, content: bytearray, _: list[Target]) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _truncate(rng: random.Random, content: bytearray, _: list[Target]) -> None:
    del content[rng.randrange(len(content) + 1) :]


def _splice(rng: random.Random, content: bytearray, known: list[Target]) -> None:
    """Replace a part of the file by a part of another one."""
    other = rng.choice(known).content
    length = min(int(2 ** rng.uniform(0, 12)), len(other))
    start, place = rng.randrange(len(other) - length + 1), rng.randrange(len(content) + 1)
    content[place : place + rng.choice((0, length))] = other[start : start + length]


def _instruction(rng: random.Random, content: bytearray, _: list[Target]) -> None:
    """Put an instruction, or a whole hostile program, where the reader expects another one."""
    place = rng.randrange(len(content) + 1)
    if rng.random() < 0.5:
        content[place : place + 1] = rng.choice(pickletools.opcodes).code.encode("latin-1")
    else:
        content[place:place] = rng.choice(list(CRAFTED.values()))[2:-1][:4096]


def _header(rng: random.Random, content: bytearray, _: list[Target]) -> None:
    """Change the type or a size of an array."""
    kinds = [b"f8", b"i8", b"u1", b"b1", b"f4", b"i4", b"u4", b"f2", b"O8", b"V8", b"i9"]
    places = [at for kind in kinds[:7] if (at := content.find(kind, rng.randrange(len(content) + 1))) >= 0]
    if places and rng.random() < 0.6:
        place = rng.choice(places)
        content[place : place + 2] = rng.choice(kinds)
    elif (place := content.find(b"J", rng.randrange(len(content) + 1))) >= 0:
        content[place + 1 : place + 5] = rng.choice((0, 1, 3, 2**31 - 1, -1, 257)).to_bytes(
            4, "little", signed=True
        )


_BYTES = (_flip, _truncate, _splice, _instruction, _header)


def _document_damaged(rng: random.Random, content: bytes) -> bytes:
    """Return the file of a document in which some values are others: readable, and wrong inside."""

    document = unpickled(content, "seed")
    if isinstance(document.get("pipeline"), bytes):
        pipeline = bytearray(document["pipeline"])
        rng.choice(_BYTES)(rng, pipeline, [Target("", content, bytes, Exception)])
        document["pipeline"] = bytes(pipeline)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _change(rng, document)
    try:
        return pickled(document)
    except UnfitBundle:
        return content[:-1]


def _change(rng: random.Random, document: Any) -> None:
    """Change one value somewhere below a container, one of an array mostly."""
    while True:
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        if not keys:
            return
        key = rng.choice(keys)
        value = document[key]
        if isinstance(value, dict | list) and value and rng.random() < 0.9:
            document = value
            continue
        if rng.random() < 0.1:
            del document[key]
        else:
            document[key] = _other(rng, value)
        return


def _other(rng: random.Random, value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.size and rng.random() < 0.85:
        changed = value.copy()
        kind = np.iinfo(value.dtype) if value.dtype.kind in "iu" else None
        for _ in range(rng.choice((1, 2, 5))):
            place = rng.randrange(value.size)
            limits = (
                (0, 1, -1, 2, kind.max, kind.min, value.size) if kind else (0.0, np.inf, np.nan, -1.0, 1e300)
            )
            changed.flat[place] = np.array(rng.choice(limits)).astype(value.dtype, casting="unsafe")
        return changed
    if isinstance(value, np.ndarray):
        return rng.choice(
            (value[:-1], value.reshape(-1, 1), value.astype("f4"), np.concatenate((value, value)))
        )
    if isinstance(value, str) and value and rng.random() < 0.7:
        place = rng.randrange(len(value))
        return (
            value[:place]
            + rng.choice(("", "9", "-", "1e999", " ", "\n", "Tree=", "é", "\0"))
            + value[place + 1 :]
        )
    return rng.choice((None, True, 0, 1, -1, 2**63, 1e308, float("nan"), "", "x", [], {}, b"x", "Pipeline"))


def fuzz(count: int, seed: int) -> dict[str, Any]:
    """Read `count` damaged files and return how many were refused or accepted, and every violation.

    deaths   cases that ended the reading process; the next one goes on after them
    """
    found: dict[str, Any] = {
        "count": count,
        "seed": seed,
        "refused": 0,
        "accepted": 0,
        "violations": [],
        "deaths": [],
    }
    first = 0
    while first < count and len(found["deaths"]) < _DEATHS:
        done, died = _child(first, count, seed)
        for name in ("refused", "accepted", "violations"):
            found[name] += done.get(name, type(found[name])())
        if died is None:
            break
        found["deaths"].append(died)
        first = died["case"] + 1
    return found


def _child(first: int, count: int, seed: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return what a process found, and how it died or None."""
    with tempfile.TemporaryDirectory() as name:
        log, out = Path(name) / "log", Path(name) / "out"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT / "tests")}
        command = [sys.executable, "-m", "support.fuzzing", str(first), str(count), str(seed), str(out)]
        with log.open("w") as stream:
            done = subprocess.run(
                command, cwd=_ROOT, env=environment, stdout=stream, stderr=stream, check=False,
                timeout=600 + 2 * count,
            )  # fmt: skip
        lines = out.read_text().splitlines() if out.exists() else []
        tally = Counter(line.partition(" ")[0] for line in lines)
        read = {
            "refused": tally["refused"],
            "accepted": tally["accepted"],
            "violations": [line.partition(" ")[2] for line in lines if line.startswith("violation")],
        }
        if done.returncode == 0:
            return read, None
        last = sum(tally[name] for name in ("refused", "accepted", "violation"))
        return read, {"case": first + last, "exit": done.returncode, "log": log.read_text()[-2000:]}


def case(seed: int, number: int, known: list[Target]) -> tuple[Target, bytes]:
    """Return one case of a seed."""
    return damaged(random.Random(f"{seed} {number}"), known)


def main(first: int, count: int, seed: int, out: Path) -> None:
    """Read the cases of a seed from `first` on, a line each into `out`: what became of it."""
    np.seterr(all="ignore")
    watch, known = Watch(), targets()
    for target in known:
        target.read(target.content)
    _know_time_zones()
    _limit_memory()
    signal.signal(signal.SIGALRM, _late)
    with out.open("w", buffering=1) as stream:
        for number in range(first, count):
            target, content = case(seed, number, known)
            stream.write(f"{_outcome(target, content, watch)} [{target.name}, case {number}]\n")


def _know_time_zones() -> None:
    """Import the packages of time zones: one that the system lacks is looked for there."""
    for path in Path(tzdata.__file__).parent.rglob("__init__.py"):
        importlib.import_module(".".join(path.relative_to(Path(tzdata.__file__).parents[1]).parent.parts))


def _outcome(target: Target, content: bytes, watch: Watch) -> str:
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    # A loop in compiled code never comes back to the alarm.
    faulthandler.dump_traceback_later(2 * _SECONDS, exit=True)
    try:
        with watch.watching():
            target.read(content)
    except target.refusal as error:
        text = str(error)
        return (
            "refused" if "\n" not in text and len(text) < 1000 else f"violation no single line: {text[:60]!r}"
        )
    except BaseException as error:
        return f"violation {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
    return "accepted"


@contextmanager
def harmless() -> Iterator[None]:
    """Raise Violation where the block does what no reader of data does."""
    with _watch().watching():
        yield


@functools.cache
def _watch() -> Watch:
    # A hook cannot be taken away again.
    watch = Watch()
    target = Target("", first_bundle(make_bundle()), read_as_live, BundleRefused)
    target.read(target.content)
    return watch


def acting() -> None:
    """Let `pickle` run the crafted programs that do harm, and print the first thing that each does."""
    watch = Watch()
    for name, content in ACTING.items():
        found = "nothing"
        try:
            with watch.watching(but="pickle.find_class"):
                joblib.load(io.BytesIO(content)) if b"NumpyArrayWrapper" in content else pickle.loads(content)
        except Violation as violation:
            found = str(violation)
        except Exception as error:
            found = f"nothing but {error}"
        print(f"{name}: {found}")


def _late(*_: object) -> None:
    raise Violation(f"took more than {_SECONDS} s")


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _GIGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    if sys.argv[1] == "acting":
        acting()
    elif len(sys.argv) == 3:
        print(json.dumps(fuzz(int(sys.argv[1]), int(sys.argv[2])), indent=2))
    else:
        main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
