"""Secrets: read with care, and cut out of every text, in every form that a server or a library gives."""

from __future__ import annotations

import os
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from lockstep.errors import LiveError
from lockstep.live.messages import Irregularity, Release, SetRecord
from lockstep.live.secret import ScrubbedJournal
from lockstep.live.status.logs import ScrubbedStream
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.secrets import HIDDEN, Secrets
from support.desks import MemoryJournal
from support.echoes import FORMS, fragments
from support.events import an_event

ACCOUNT = "4f1c2a33-9b1d-4e2f-a111-0123456789ab"
TOKEN = 'K7xq"Zp9vLm2+Tr8Wn4\\Bd6Hs1Jc3'
URL = f"https://webhooks.example.com/trading/webhook/{ACCOUNT}/{TOKEN}"


def known(*values: str) -> Secrets:
    secrets = Secrets({})
    for value in values or (URL,):
        secrets.add("hook", SecretStr(value))
    return secrets


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("what", ["the URL", "the path", "the token"])
def test_no_form_of_a_secret_passes(what: str, form: str) -> None:
    whole = {"the URL": URL, "the path": URL.split("com", 1)[1], "the token": TOKEN}[what]
    text = f"before {FORMS[form](whole)} after"
    assert fragments(text, TOKEN), "negative control: it was there"
    clean = known().scrub(text)
    assert not fragments(clean, TOKEN), clean
    assert not fragments(clean, ACCOUNT), clean
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    assert HIDDEN in clean
    assert known().scrub(clean) == clean


TOKENS = st.text(string.ascii_letters + string.digits + "-_", min_size=24, max_size=48).filter(
    lambda token: len(set(token)) > 12 and any(each.isdigit() for each in token[1:-1])
)


@given(TOKENS, st.sampled_from(sorted(FORMS)), st.integers(0, 40), st.integers(12, 48))
def test_neither_does_a_piece_of_one(token: str, form: str, first: int, size: int) -> None:
    """Cut by us, by the server, at either end: what is long enough to tell is gone."""
    piece = token[first : first + size]
    text = FORMS[form](piece)
    clean = known(f"https://example.com/hook/{token}").scrub(text)
    if len(piece) >= 12 and "base64" not in form:
        assert not fragments(clean, token, size=12), clean


@pytest.mark.parametrize("kept", range(8, len(TOKEN) + 1))
def test_a_prefix_of_eight_characters_is_found(kept: int) -> None:
    assert known().scrub(f"cut off {TOKEN[:kept]}") == f"cut off {HIDDEN}"
    assert known().scrub(f"the end {TOKEN[-kept:]}") == f"the end {HIDDEN}"


@pytest.mark.parametrize(
    "text",
    [
        "POST to webhooks.example.com/trading/webhook failed: 100% of 3 tokens & more; \\n \\u00e9 %41",
        "1-live-ES-1709737200000000000-entry-1 at 2024-03-06T15:00:00+00:00, sha 0d1f2e3c",
        "ünïcödé \ud800 and \x1b[2J",
        "",
    ],
)
def test_everything_else_is_left_as_it_is(text: str) -> None:
    assert known().scrub(text) == text
    assert known("https://example.com/lockstep-live/lockstep-gateway").scrub("lockstep.live: gateway") == (
        "lockstep.live: gateway"
    )


def test_a_number_as_a_secret_does_not_eat_stamps() -> None:
    secrets = known("https://example.com/api/112233445566778899/K7xqZp9vLm2Tr8Wn")
    assert secrets.scrub("at 1709737233445566000") == "at 1709737233445566000"
    assert secrets.scrub("id 112233445566778899") == f"id {HIDDEN}"


@pytest.mark.parametrize(
    "value", ["https://example.com/hook", "https://example.com/a/b?key=short", "password"]
)
def test_what_is_too_short_to_be_told_from_a_word_is_refused(value: str) -> None:
    with pytest.raises(LiveError, match=r"^hook: its secret part has fewer than 12 characters") as refused:
        known(value)
    assert value not in str(refused.value)


def test_json_keeps_its_shape() -> None:
    key = SeriesKey("ES", DAILY)
    value = {"a": [URL, 1, None, True, 2.5], "b": {URL: ("x", key)}, "c": 10**20}
    path = "https://webhooks.example.com/trading/webhook/[secret]/[secret]"
    assert known().scrubbed(value) == {"a": [path, 1, None, True, 2.5], "b": {path: ("x", key)}, "c": 10**20}


def test_nothing_known_changes_nothing() -> None:
    assert Secrets({}).scrub(URL) == URL


# --- where they come from -----------------------------------------------------------------------------


def test_a_secret_comes_from_the_environment_or_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(f" {URL}\n", encoding="utf-8")
    file.chmod(0o600)
    secrets = Secrets({"HOOK": f"{URL} "})
    from_file = secrets.read("hook", variable=None, file=file)
    from_variable = secrets.read("hook", variable="HOOK", file=None)
    assert from_file.get_secret_value() == from_variable.get_secret_value() == URL
    assert TOKEN not in secrets.scrub(URL), "what was read is known"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty; write the secret into it"),
        (b" \n\n", "is empty"),
        (URL.encode() + b"\n" + URL.encode(), "is not one line"),
        (URL.encode() + b"\x00", "is not one line"),
        (b"two words and more", "is not one line"),
        (b"\xef\xbb\xbf" + URL.encode(), "byte order mark"),
        (URL.encode("utf-16"), "UnicodeDecodeError"),
        (b"\xff\xfe\xfd" * 9, "UnicodeDecodeError"),
        (b"x" * 4097, "has 4097 bytes"),
        (b"short", "fewer than 12"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_shows_nothing_of_it(
    tmp_path: Path, content: bytes, fault: str
) -> None:
    file = tmp_path / "url"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(LiveError, match=rf"^hook: .*{fault}") as refused:
        Secrets({}).read("hook", variable=None, file=file)
    assert len(str(refused.value).splitlines()) == 1
    assert "webhooks" not in str(refused.value)


def test_a_file_that_others_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    file, pipe = tmp_path / "url", tmp_path / "pipe"
    file.write_text(URL)
    os.mkfifo(pipe, 0o600)
    for mode in (0o640, 0o604, 0o660):
        file.chmod(mode)
        with pytest.raises(LiveError, match="chmod 600"):
            Secrets({}).read("hook", variable=None, file=file)
    for other, fault in (
        (pipe, "no regular file"),
        (tmp_path, "no regular file"),
        (tmp_path / "none", "create"),
    ):
        with pytest.raises(LiveError, match=fault):
            Secrets({}).read("hook", variable=None, file=other)


@pytest.mark.parametrize("environment", [{}, {"HOOK": " "}])
def test_an_empty_variable_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(LiveError, match="variable HOOK is empty; set it"):
        Secrets(environment).read("hook", variable="HOOK", file=None)


# --- where they would come out ------------------------------------------------------------------------


def test_no_event_takes_a_secret_into_the_journal() -> None:
    inner = MemoryJournal()
    journal, key = ScrubbedJournal(inner, known()), SeriesKey("ES", DAILY)
    bad = Irregularity("bad", key, 0, None, f"symbol {TOKEN}")
    refusal = an_event("refusal", content={"detail": URL})
    journal.append_set(
        SetRecord(release=Release(stamp=1, bars={}, irregularities=(bad,)), lanes=(), events=(refusal,))
    )
    journal.append(an_event("unknown", content={"order_id": URL}))
    journal.append(an_event("send", symbol=TOKEN, content={"message": {"nested": [{"detail": URL}]}}))
    assert "K7xq" not in repr(inner.rows)
    assert repr(inner.rows).count("[secret]") == 8
    assert len(list(journal.recorded(1))) == len(inner.rows)


def test_a_stream_passes_whole_lines_and_no_secret(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+") as file:
        stream = ScrubbedStream(file, known())
        for piece in (URL[:60], URL[60:], " one\ntwo ", TOKEN):
            stream.write(piece)
        assert (tmp_path / "out").read_text().endswith("[secret] one\n")
        stream.flush()
        assert (tmp_path / "out").read_text().endswith("one\ntwo [secret]")


CRASH = """
import os, sys, threading, warnings, resource
from lockstep.live.status.logs import guard_process
from lockstep.secrets import Secrets
secrets = Secrets(os.environ)
if sys.argv[1] == "guarded":
    guard_process(secrets)
url = secrets.read("hook", variable="HOOK", file=None).get_secret_value()
warnings.warn(url)
def die():
    raise ValueError(f"thread {url}")
thread = threading.Thread(target=die)
thread.start()
thread.join()
print(resource.getrlimit(resource.RLIMIT_CORE))
raise ValueError(f"main {url}")
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_a_process_that_dies_says_why_without_its_secrets(guarded: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASH, "guarded" if guarded else "not"],
        env={**os.environ, "HOOK": URL},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    for said in ("UserWarning: https", "ValueError: thread https", "ValueError: main https"):
        assert said in done.stderr
    assert (TOKEN not in done.stderr) == guarded
    assert done.stdout.startswith("(0, 0)") or not guarded
