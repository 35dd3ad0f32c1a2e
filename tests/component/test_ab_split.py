"""An A/B test that splits signals in a real engine: lanes that are arms, killed, certified, counted again."""

from __future__ import annotations

import hashlib
import math
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from certify.portfolio import certify_portfolio
from certify.recorded import check_recorded
from certify.run import CertificateRequest
from lockstep.errors import ExperimentError, ReplayMismatch
from lockstep.live.config import LiveConfig
from lockstep.live.epochs import live_hashes, successor
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.live.service import Service
from lockstep.market.bars import Flags, Stamps
from lockstep.market.config import load_instruments
from lockstep.models.store import ModelStore
from lockstep.monitoring.ab import AbMode
from lockstep.portfolio.split import CHALLENGER, CHAMPION
from lockstep.portfolio.terms import LaneTerms
from operations.ab.arms import StrategyCandidate
from operations.ab.book import AbTest, sessions_of_arm
from operations.ab.cli import split_lines
from operations.ab.tester import StrategyABTester
from operations.watch.join import signal_of
from research.ledger.ledger import Ledger
from support import desks, papers
from support.candidates import until
from support.live_portfolios import LIMITS, PORTFOLIO
from support.models import RECORD
from support.papers import COMP

NAME = "eager against strict"
START, END, DIES_AT = "2016-01-04", "2016-08-31", 70
VERSIONS = {CHAMPION: "v1", CHALLENGER: "v2"}
NOW = datetime(2026, 1, 2, tzinfo=UTC)
WEEKS = {"start": "2016-01-04", "end": "2016-02-19"}


def member(arm: str, **changes: Any) -> dict[str, Any]:
    split = {"test": NAME, "arm": arm}
    return {"name": arm, "version": VERSIONS[arm], "share": 0.5, "split": split, **changes}


def desk(folder: Path, *, lane: Mapping[str, Any] | None = None, **changes: Any) -> Path:
    """Write a desk of COMP whose two members are the arms, and return its live.yml."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "store").is_dir():
        store = ModelStore(folder / "store")
        store.folder.mkdir()
        for threshold in (0.0, 0.5):
            store.register(desks.bundle(threshold=threshold), record=RECORD, by="me", now=papers.NOW)
    traded = {
        "symbol": "COMP",
        "units": 2,
        "max_contracts": 4,
        **(lane or {"members": [member(arm) for arm in VERSIONS]}),
    }
    content = {
        **PORTFOLIO,
        "capital": 1_000_000.0,
        "lanes": [traded],
        "groups": {},
        "limits": {"max_gross": 1.0, "daily_loss": {"fraction": 0.5}},
    }
    (folder / "desk.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    feeds = [{"kind": "replay", "start": START, "end": END}]
    return papers.config(
        folder, portfolio=str(folder / "desk.yml"), instruments=[], limits=LIMITS, feeds=feeds, **changes
    )


def run(config: Path, **given: Any) -> None:
    with Service(config, mode=None, environment={}, **given) as service:
        service.run()


def killed(config: Path, sets: int) -> None:
    """Run the desk in a child that dies by SIGKILL when so many sets are committed."""
    child = os.fork()
    if child == 0:
        append, left = Journal.append_set, [sets]

        def dying(self: Journal, record: SetRecord) -> int:
            found = append(self, record)
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        try:
            Journal.append_set = dying  # type: ignore[method-assign]
            run(config)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the live.yml of a desk that was killed on its way and went on to its end."""
    config = desk(tmp_path_factory.mktemp("desk"))
    killed(config, DIES_AT)
    run(config)
    return config


def created(tester: StrategyABTester, config: Path, store: Path | None = None, **given: Any) -> AbTest:
    began, history = datetime(2016, 1, 1, 12, tzinfo=UTC), desks.history()
    known = replace(history, bars={key: until(each, began) for key, each in history.bars.items()})
    folder = store or config.parent / "store"
    arms = (StrategyCandidate.named(each, "COMP", tester.ledger, folder) for each in VERSIONS.values())
    return tester.create_test(
        NAME, *arms, known, now=began, mode=AbMode.SPLIT, desk=config, insist=True, **given
    )


def arm_by_hand(decision: int) -> str:
    """Return the arm of a signal of COMP, from the sentence of the page: the first bit of a SHA-256."""
    session = load_instruments().market("COMP").session.dates(np.array([decision]), COMP.timeframe)[0]
    digest = hashlib.sha256(f'["{NAME}","COMP","{session}",{decision}]'.encode()).hexdigest()
    return CHAMPION if int(digest[0], 16) < 8 else CHALLENGER


def proposals(config: Path) -> list[tuple[int, str, str]]:
    """Return every proposal of a desk: stamp, arm of its lane, rule that refused it."""
    with sqlite3.connect(config.parent / "live.db") as journal:
        query = (
            "SELECT stamp, symbol, rule FROM proposals JOIN sets USING (sequence) ORDER BY sequence, place"
        )
        return [(stamp, symbol.partition("#")[2], rule) for stamp, symbol, rule in journal.execute(query)]


def test_each_signal_is_taken_by_its_arm_alone_across_a_kill(lived: Path) -> None:
    found = proposals(lived)
    taken = Counter(stamp for stamp, _, rule in found if not rule)
    assert max(taken.values()) == 1
    for stamp, arm, rule in found:
        assert rule == ("" if arm == arm_by_hand(stamp) else "other_arm")
    stamps = sorted({stamp for stamp, *_ in found})
    with sqlite3.connect(lived.parent / "live.db") as journal:
        ((last_before_the_kill,),) = journal.execute(
            f"SELECT max(stamp) FROM (SELECT stamp FROM sets ORDER BY sequence LIMIT {DIES_AT})"
        )
    before = sum(each <= last_before_the_kill for each in stamps)
    assert min(before, len(stamps) - before) > 10
    challenger = sum(arm_by_hand(each) == CHALLENGER for each in stamps)
    assert abs(challenger - len(stamps) / 2) < 3 * math.sqrt(len(stamps)) / 2
    # Both arms propose the same signal while both are flat: one takes it.
    both = [each for each, count in Counter(stamp for stamp, *_ in found).items() if count == 2]
    assert len(both) > 10
    assert all(taken[each] == 1 for each in both)


def test_a_refused_signal_is_told_and_counted_as_refused(lived: Path) -> None:
    with Journal.open(lived.parent / "live.db", readonly=True) as journal:
        sets = [each for each in journal.entries(1) if isinstance(each, SetRecord)]
    states: Counter[str] = Counter()
    for row in sets:
        for lane in row.lanes:
            outcome = signal_of(lane, row.release.stamp, 1)
            if outcome is not None and outcome.reason == "refused: other_arm":
                states[outcome.state] += 1
                assert lane.symbol.partition("#")[2] != arm_by_hand(row.release.stamp)
    assert states == {"refused": sum(rule == "other_arm" for *_, rule in proposals(lived))}
    assert states["refused"] > 20


def test_its_journal_comes_out_again(lived: Path) -> None:
    report = check_recorded(lived.parent / "live.db", store=ModelStore(lived.parent / "store"))
    assert report.passed, (report.account, report.decisions)


def test_its_certificate_passes(tmp_path: Path) -> None:
    config = LiveConfig.load(desk(tmp_path))
    request = CertificateRequest(versions={}, store=ModelStore(tmp_path / "store"), restarts=1, **WEEKS)
    found = certify_portfolio(config, request, now=NOW)
    assert found.passed, found.first


def recounted(config: Path, sessions: np.ndarray[Any, Any], arm: str) -> dict[str, tuple[float, int]]:
    """Return result and trades of an arm by session, from the rows of the journal alone."""
    query = """
        SELECT decision, stamp, intent, quantity, price, commission FROM orders
        JOIN entries USING (sequence) WHERE status = 'completed' AND symbol = ? ORDER BY sequence, place
    """
    market, found, entry = load_instruments().market("COMP"), {str(each): (0.0, 0) for each in sessions}, None
    with sqlite3.connect(config.parent / "live.db") as journal:
        for decision, stamp, intent, quantity, price, paid in journal.execute(query, (f"COMP#{arm}",)):
            if intent == "entry":
                entry = (decision, quantity, price, paid)
                continue
            assert entry is not None
            assert arm_by_hand(entry[0]) == arm
            net = (price - entry[2]) * entry[1] * market.instrument.multiplier - paid - entry[3]
            day = str(market.session.dates(np.array([stamp]), COMP.timeframe)[0])
            if day in found:
                result, trades = found[day]
                found[day] = result + net / desks.CONFIG.capital, trades + 1
    return found


def test_the_evaluation_is_a_recount_of_the_journal(
    lived: Path, tester: StrategyABTester, ledger: Ledger
) -> None:
    test = created(tester, lived)
    assert split_lines(test) == [
        f"  signals are split: COMP#{arm} of {lived.resolve()} is the {arm}" for arm in VERSIONS
    ]
    done = tester.evaluate_test(NAME, now=NOW)
    # Neither the first session, in which the desk began, nor the newest one, which may go on.
    assert (str(done.new[0]), str(done.new[-1]), len(done.new)) == ("2016-01-05", "2016-08-30", 166)
    for arm in VERSIONS:
        written = sessions_of_arm(ledger, test, arm)
        expected = recounted(lived, written.dates, arm)
        assert written.results.tolist() == pytest.approx([each for each, _ in expected.values()])
        assert written.trades.tolist() == [each for _, each in expected.values()]
        assert written.trades.sum() > 10


Fault = Callable[[LaneTerms, Stamps], Flags]


def by_the_clock(terms: LaneTerms, decisions: Stamps) -> Flags:
    """Planted: the arm is that of the moment at which somebody asks."""
    is_challenger = CLOCK.random(len(decisions)) < 0.5
    return is_challenger != (terms.split is not None and terms.split.arm == CHALLENGER)


def for_both(terms: LaneTerms, decisions: Stamps) -> Flags:
    """Planted: nothing belongs to the other arm."""
    return np.zeros(len(decisions), dtype=np.bool_)


HONEST, CLOCK = LaneTerms.of_other_arm, np.random.default_rng(3)


def flipped(terms: LaneTerms, decisions: Stamps) -> Flags:
    """Planted: the arms change places."""
    return ~HONEST(terms, decisions)


@pytest.mark.parametrize("fault", [by_the_clock, for_both, flipped])
def test_an_engine_that_splits_otherwise_is_found(
    fault: Fault, tmp_path: Path, tester: StrategyABTester, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = desk(tmp_path / "desk")
    with monkeypatch.context() as planted:
        planted.setattr(LaneTerms, "of_other_arm", fault)
        run(config, stop_after=60)
    created(tester, config)
    with pytest.raises(
        ExperimentError, match=r"is the \w+ and took the signal of .* which is the other arm's"
    ):
        tester.evaluate_test(NAME, now=NOW)
    # The journal's judge and a restart of an honest engine find it as well.
    assert not check_recorded(config.parent / "live.db", store=ModelStore(config.parent / "store")).passed
    with pytest.raises(ReplayMismatch):
        run(config)


def test_arms_that_change_places_in_a_restart_stop_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = desk(tmp_path)
    run(config, stop_after=40)
    monkeypatch.setattr(LaneTerms, "of_other_arm", flipped)
    with pytest.raises(ReplayMismatch):
        run(config)


def alone(folder: Path, arm: str, store: Path, **changes: Any) -> Path:
    """Write a desk that trades one arm, by its one lane."""
    split = {"test": NAME, "arm": arm}
    return desk(folder, lane={"version": VERSIONS[arm], "split": split}, store=str(store), **changes)


def test_two_desks_are_the_two_arms_each_in_its_own_account(
    tmp_path: Path, tester: StrategyABTester, ledger: Ledger
) -> None:
    """As a desk does it that trades with money, which no member of an ensemble does."""
    desk(tmp_path / "both")
    store = tmp_path / "both" / "store"
    configs = {arm: alone(tmp_path / arm, arm, store) for arm in VERSIONS}
    for each in configs.values():
        run(each)
    test = created(tester, configs[CHAMPION], store, challenger_desk=configs[CHALLENGER])
    done = tester.evaluate_test(NAME, now=NOW)
    assert len(done.new) == 166
    taken: dict[str, set[int]] = {}
    for arm, config in configs.items():
        found = proposals(config)
        taken[arm] = {stamp for stamp, _, rule in found if not rule}
        assert all((rule == "") is (arm_by_hand(stamp) == arm) for stamp, _, rule in found)
        assert sessions_of_arm(ledger, test, arm).trades.sum() >= len(taken[arm]) - 2 > 3
    assert not taken[CHAMPION] & taken[CHALLENGER]


def test_what_the_desk_needs_is_said_until_it_has_it(tmp_path: Path, tester: StrategyABTester) -> None:
    """Created before the desk splits: what is traded until its next epoch counts for nobody."""
    config = desk(tmp_path, lane={"version": "v1"})
    run(config, stop_after=22)
    test = created(tester, config)
    said = split_lines(test)
    assert "as members of its lane of COMP, then lockstep journal new-epoch" in said[0]
    lane = yaml.safe_load("\n".join(said[1:]))
    assert lane["members"] == [member(arm) for arm in VERSIONS]
    with pytest.raises(ExperimentError, match=r"no lane of .* is its champion; give one of COMP in its"):
        tester.evaluate_test(NAME, now=NOW)
    desk(tmp_path, lane=lane)
    with pytest.raises(
        ExperimentError, match="has no bar since its portfolio splits the signals; let it run"
    ):
        tester.evaluate_test(NAME, now=NOW)
    began = int(np.datetime64("2016-02-10", "ns").astype(np.int64))
    with Journal.open(tmp_path / "live.db") as journal:
        epoch, _ = successor(
            journal, LiveConfig.load(config), hashes=live_hashes(config), reason="split", now=began
        )
        journal.begin_epoch(epoch)
    run(config, stop_after=30)
    done = tester.evaluate_test(NAME, now=NOW)
    # The 23rd session, of 4 February, is the first that was split; part of it may have been traded before.
    assert (str(done.new[0]), len(done.new)) == ("2016-02-05", 28)


@pytest.mark.parametrize(
    ("lane", "told"),
    [
        (
            {"members": [member(CHAMPION), member(CHALLENGER, split=None)]},
            r"no lane of .* is its challenger; give one of COMP in its portfolio `split: .*new-epoch`",
        ),
        (
            {"members": [member(CHAMPION, version="v2"), member(CHALLENGER, version="v1")]},
            r"COMP#champion of .* traded \w+, and the champion is .*; stop the test",
        ),
        (
            {"units": 4, "members": [member(CHAMPION, share=0.25), member(CHALLENGER, share=0.75)]},
            "the champion trades 1 units, the challenger 3 units: give both the same",
        ),
    ],
)
def test_a_desk_that_is_not_what_the_test_froze_is_refused(
    lane: Mapping[str, Any], told: str, tmp_path: Path, tester: StrategyABTester
) -> None:
    config = desk(tmp_path / "desk", lane=lane)
    run(config, stop_after=5)
    created(tester, config)
    with pytest.raises(ExperimentError, match=told) as found:
        tester.evaluate_test(NAME, now=NOW)
    assert "\n" not in str(found.value)
