"""`scripts/alert.py`: what a unit that watches the engine sends."""

from __future__ import annotations

import os
import subprocess

from support.http_faults import FaultServer, answer
from support.processes import ROOT, python

SCRIPT = ROOT / "scripts/alert.py"


def run(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(SCRIPT, *arguments, environment={**os.environ, "DISCORD_WEBHOOK_URL": url})


def test_it_posts_or_says_in_one_line_why_not() -> None:
    with FaultServer(answer(204, b""), answer(500)) as server:
        sent = run(server.url, "--kind", "mismatch", "desk1: the engine failed")
        failed = run(server.url, "again")
        assert [body["content"] for _, body in server.requests] == [
            "**alert: mismatch** desk1: the engine failed",
            "**alert: stop** again",
        ]
    unknown = run("", "--kind", "mismatches", "again")
    unset = run("", "again")
    assert [each.returncode for each in (sent, failed, unknown, unset)] == [0, 2, 2, 2]
    assert failed.stderr == "error: status 500\n"
    assert "did you mean 'mismatch'" in unknown.stderr
    assert "DISCORD_WEBHOOK_URL is empty" in unset.stderr
