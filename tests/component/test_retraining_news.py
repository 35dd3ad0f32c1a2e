"""People are told of what waits for them, of what failed and of what was taken back: once, whatever dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lockstep.monitoring.alerts import Alert
from operations.retraining import cli
from operations.retraining.book import RetrainingBook
from operations.retraining.telling import news_of
from support.references import expected_measures
from support.retraining import (
    BEARABLE,
    NOW,
    QuickMaker,
    RetrainedDesk,
    alarmed_desk,
    moved,
    promoted_desk,
    referred,
    shadowed_desk,
)
from support.watching import ChannelSink


@pytest.fixture
def channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChannelSink:
    """Where the alerts of this desk go."""
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setattr(cli, "_now", lambda: NOW)
    found = ChannelSink()
    monkeypatch.setattr(cli, "sinks_of", lambda *_: [found])
    return found


@pytest.fixture
def waiting(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> RetrainedDesk:
    """A desk whose challenger is not worse, and whose promotions a person approves."""
    return configured(moved(shadowed_desk(tmp_path_factory), tmp_path / "desk"), approval="person")


def configured(desk: RetrainedDesk, **changes: Any) -> RetrainedDesk:
    content = {**yaml.safe_load(desk.retraining.read_text()), **changes}
    desk.retraining.write_text(yaml.safe_dump(content))
    return desk


def passed(desk: RetrainedDesk) -> tuple[int, str]:
    """Let one command take the retrainings as far as they go."""
    done = CliRunner().invoke(cli.app, ["run", "--config", str(desk.retraining)], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def texts(channel: ChannelSink) -> list[str]:
    return [each.text for each in channel.sent]


def test_a_challenger_that_waits_is_told_of_once(waiting: RetrainedDesk, channel: ChannelSink) -> None:
    for _ in range(3):
        assert passed(waiting)[0] == 0
    (alert,) = channel.sent
    (run,) = waiting.runs()
    assert alert.kind == "retraining"
    assert alert.head == "warning: retraining"
    assert alert.text.startswith("COMP: v2 is not worse on ")
    assert f"lockstep retrain approve {run.id}" in alert.text
    CliRunner().invoke(cli.app, ["approve", run.id, "--config", str(waiting.retraining), "--by", "AB"])
    assert waiting.production == "v2"
    passed(waiting)
    assert len(channel.sent) == 1, "a promotion that goes well is no news"


def test_a_dry_run_and_a_plan_tell_nobody(waiting: RetrainedDesk, channel: ChannelSink) -> None:
    for words in (["run", "--dry-run"], ["plan"], ["status"]):
        done = CliRunner().invoke(cli.app, [*words, "--config", str(waiting.retraining)])
        assert done.exit_code == 0
    assert channel.sent == []
    with RetrainingBook.open(waiting.book, readonly=True) as book:
        assert [each.signals for each in book.looks()] == [0], "that of the day on which it began"


def test_one_that_is_undecided_waits_for_nobody(
    channel: ChannelSink, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk = moved(alarmed_desk(tmp_path_factory), tmp_path / "desk")
    desk.retrain(QuickMaker(desk.store, reference=BEARABLE))
    assert passed(desk)[0] == 0
    assert channel.sent == []
    with RetrainingBook.open(desk.book, readonly=True) as book:
        (look,) = book.looks()
    assert (look.signals, look.verdict, look.low) == (0, "undecided", None)


def test_a_retraining_that_failed_is_told_of_once(
    channel: ChannelSink, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk = moved(alarmed_desk(tmp_path_factory), tmp_path / "desk")
    desk.retrain(QuickMaker(desk.store, refuse={"validate": "validation refuses it"}))
    for _ in range(2):
        passed(desk)
    assert texts(channel) == ["COMP: FAILED: validation refuses it"]


def test_a_promotion_that_was_taken_back_is_told_of_once(
    channel: ChannelSink, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # The alarm is still there, and would begin another one.
    desk = configured(moved(promoted_desk(tmp_path_factory), tmp_path / "desk"), cool_down_days=3_000)
    referred(desk.store, "v2", expected=expected_measures(worst_trade_pnl=-1.0, worst_session_pnl=-1e6))
    assert [passed(desk)[0] for _ in range(2)] == [cli.LOOK_AT_IT, 0]
    (text,) = texts(channel)
    assert text.startswith("COMP: ROLLED_BACK: COMP: v1 is in production again: a trade lost")


def test_what_a_sink_did_not_take_is_sent_by_the_next_pass(
    waiting: RetrainedDesk, channel: ChannelSink
) -> None:
    channel.down = True
    assert "alert not delivered, the next run tries again: no answer" in passed(waiting)[1]
    channel.down = False
    for _ in range(2):
        passed(waiting)
    assert len(channel.sent) == 1


class _Deadly:
    """Kills the process that sends by it, before or after the message has left."""

    name = "deadly"

    def __init__(self, letters: Path, *, after: bool) -> None:
        self.letters, self.after = letters, after

    def send(self, alert: Alert) -> None:
        if self.after:
            with self.letters.open("a") as letters:
                letters.write(f"{alert.text}\n")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.no_cover
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_between_row_and_message_loses_no_message(
    waiting: RetrainedDesk, channel: ChannelSink, tmp_path: Path, monkeypatch: Any, after: bool
) -> None:
    letters = tmp_path / "letters"
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(cli, "sinks_of", lambda *_: [_Deadly(letters, after=after)])
        try:
            passed(waiting)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    with RetrainingBook.open(waiting.book, readonly=True) as book:
        assert len(list(news_of(book))) == 1, "it is in the book already"
    for _ in range(3):
        passed(waiting)
    assert len(channel.sent) == 1
    # Better twice than never: nobody can know whether a message has left before a kill.
    assert letters.exists() == after
