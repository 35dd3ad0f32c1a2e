"""What the operator may say about quarantined bars: `lockstep.live.bars_cli`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lockstep.errors import JournalError, LockstepError
from lockstep.live.bars_cli import app
from lockstep.live.events import Event
from lockstep.live.journal import Journal
from lockstep.live.journal.continuation import continued
from lockstep.live.journal.opening import WriterLock
from lockstep.live.messages import Irregularity, Release, SetRecord, Values, iso
from lockstep.live.operator.commands import BarCommand, Mailbox, waiting
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY, Timeframe
from support import journals, papers
from support.events import an_event

DAY = 86_400_000_000_000
START = journals.START
ES, HOUR = SeriesKey("ES", DAILY), SeriesKey("ES", Timeframe.parse("1h"))
NQ = SeriesKey("NQ", DAILY)
BAR: Values = (4_000.0, 1e308, 3_990.0, 4_000.0, 5.0)


def reported(key: SeriesKey, end: int, kind: str = "implausible", values: Values = BAR) -> Event:
    each = Irregularity(kind, key, end, values, "why")
    return an_event(
        "irregularity",
        symbol=key.symbol,
        content={**each._asdict(), "key": str(key), "values": list(values)},
    )


def delivered(key: SeriesKey, end: int, *irregularities: Irregularity) -> SetRecord:
    bars = {key: (4_000.0, 4_010.0, 3_990.0, 4_000.0, 5.0)}
    return SetRecord(release=Release(stamp=end, bars=bars, irregularities=irregularities), lanes=())


def desk(folder: Path, *entries: Event | SetRecord) -> Path:
    """Return the configuration of a desk whose journal holds these entries."""
    config = papers.config(folder, instruments=[{"symbol": "ES"}])
    with Journal.open(folder / "live.db") as journal:
        journal.begin_epoch(journals.epoch(symbols=("ES",)))
        for entry in entries:
            if isinstance(entry, SetRecord):
                journal.append_set(entry)
            else:
                journal.append(entry)
    return config


def call(*arguments: object) -> tuple[int, str]:
    """Run a command; its output, or the refusal."""
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    refused = isinstance(result.exception, LockstepError)
    return (2, str(result.exception)) if refused else (result.exit_code, result.output)


def decide(
    config: Path,
    decision: str = "accept",
    series: str = "ES",
    end: int = START + DAY,
    reason: str = "seen at the exchange",
) -> tuple[int, str]:
    return call(decision, series, iso(end), "--reason", reason, "--config", config)


def listed(config: Path) -> list[tuple[str, str, str]]:
    code, said = call("list", "--json", "--config", config)
    assert code == 0, said
    return [(each["series"], each["end"], each["state"]) for each in json.loads(said)["bars"]]


def test_the_list_shows_what_waits_and_what_is_decided(tmp_path: Path) -> None:
    """Of sets and between them; a later bar of the series, or a correction that was too late, settles it."""
    ends = [START + n * DAY for n in range(1, 6)]
    config = desk(
        tmp_path,
        reported(NQ, ends[0]),
        delivered(ES, ends[1], Irregularity("implausible", ES, ends[0], BAR, "why")),
        delivered(NQ, ends[2], Irregularity("implausible", ES, ends[2], BAR, "why")),
        reported(ES, ends[3]),
        reported(ES, ends[3], "out_of_order"),
        reported(ES, ends[4]),
    )
    assert listed(config) == [("ES:1d", iso(ends[2]), "waits"), ("ES:1d", iso(ends[4]), "waits")]
    assert decide(config, "reject", end=ends[4])[0] == 0
    assert [state for *_, state in listed(config)] == ["waits", "reject posted"]
    code, said = call("list", "--config", config)
    assert code == 0
    shown = f"waits ES:1d {iso(ends[2])} open 4000 high 1e+308 low 3990 close 4000 volume 5"
    assert said.splitlines()[0].split() == shown.split()


def test_nothing_is_quarantined(tmp_path: Path) -> None:
    assert call("list", "--config", desk(tmp_path)) == (0, "no bar is quarantined\n")


@pytest.mark.parametrize("decision", ["accept", "reject"])
def test_a_decision_is_posted_with_the_values_that_were_seen(tmp_path: Path, decision: str) -> None:
    config = desk(tmp_path, reported(ES, START + DAY))
    code, said = decide(config, decision)
    assert (code, "NO ENGINE IS RUNNING" in said) == (0, True)
    ((name, command),) = waiting(tmp_path / "mailbox")
    assert command == BarCommand(
        symbol="ES",
        key="ES:1d",
        end=START + DAY,
        values=BAR,
        decision=decision,
        reason="seen at the exchange",  # type: ignore[arg-type]
    )
    assert name.startswith("bar-")
    (event,) = Mailbox(tmp_path / "mailbox").read()
    assert (event.kind, event.symbol, event.values) == ("quarantine", "ES", BAR)
    code, said = decide(config, decision)
    assert (code, "in the mailbox already" in said) == (2, True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end": START + 2 * DAY}, "no such bar is quarantined; waiting are: ES:1d 2023-11-15"),
        ({"series": "NQ"}, "no such bar is quarantined"),
        ({"series": "ES:1h"}, "no such bar is quarantined"),
        ({"reason": " "}, "no reason; say where the price was looked up"),
    ],
)
def test_a_wrong_decision_is_refused_and_nothing_is_posted(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    code, said = decide(desk(tmp_path, reported(ES, START + DAY)), **changes)
    assert (code, message in said, "\n" in said.strip()) == (2, True, False), said
    assert waiting(tmp_path / "mailbox") == []


@pytest.mark.parametrize("end", ["2023-11-15T22:13:20", "tomorrow"])
def test_a_stamp_without_an_offset_is_refused(tmp_path: Path, end: str) -> None:
    config = desk(tmp_path, reported(ES, START + DAY))
    code, said = call("accept", "ES", end, "--reason", "x", "--config", config)
    assert (code, "write it like" in said) == (2, True)


def test_two_series_of_a_symbol_must_be_named(tmp_path: Path) -> None:
    config = desk(tmp_path, reported(ES, START + DAY), reported(HOUR, START + DAY))
    code, said = decide(config)
    assert (code, "name one" in said) == (2, True)
    lock = WriterLock(tmp_path / "live.db")
    code, said = decide(config, series="ES:1h")
    lock.release()
    assert (code, "an engine is running" in said) == (0, True)


def test_a_decided_bar_is_not_decided_again(tmp_path: Path) -> None:
    content = {"key": "ES:1d", "end": START + DAY, "values": list(BAR), "decision": "reject", "reason": "x"}
    config = desk(tmp_path, reported(ES, START + DAY), an_event("quarantine", symbol="ES", content=content))
    assert [state for *_, state in listed(config)] == ["reject"]
    assert decide(config)[0] == 2


@pytest.mark.parametrize("decision", ["accept", "reject"])
def test_an_epoch_does_not_begin_before_an_accepted_bar_is_in_the_windows(
    tmp_path: Path, decision: str
) -> None:
    content = {"key": "ES:1d", "end": START + DAY, "values": list(BAR), "decision": decision, "reason": "x"}
    desk(tmp_path, reported(ES, START + DAY), an_event("quarantine", symbol="ES", content=content))
    with Journal.open(tmp_path / "live.db") as journal:
        if decision == "reject":
            assert continued(journal, reason="test", now=START, hashes={}).number == 2
            return
        with pytest.raises(JournalError, match="whose windows do not hold the bar yet: run the engine"):
            continued(journal, reason="test", now=START, hashes={})
