"""The commands `show`, `verify`, `backup`, `new-epoch`."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from lockstep import identity
from lockstep.errors import ConfigError, JournalError, LiveError
from lockstep.features.feature_registry import default_registry
from lockstep.live.epochs import live_hashes, require_same
from lockstep.live.journal import Journal
from lockstep.live.messages import Epoch
from lockstep.live.operator.journal_cli import app, iso
from lockstep.live.service import Service
from lockstep.market.config import load_instruments
from lockstep.models.store import ModelStore
from support import desks, papers
from support import journals as make
from support.events import an_event
from support.journals import START, tampered
from support.models import RECORD


def run(*words: object) -> Result:
    """Run a command; what it raises on purpose is raised here."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(result.exception, LiveError | ConfigError):
        raise result.exception
    return result


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "live.db"
    with Journal.open(path) as journal:
        journal.begin_epoch(make.epoch())
        for number in range(8, 12):
            journal.append_set(make.bar_set(number))
        journal.append(an_event("stop", symbol="ES", time=START, content={"why": "stale feed"}))
    return path


class TestShow:
    def test_json(self, path: Path) -> None:
        told = json.loads(run("show", "--journal", path, "--json", "--last", 2).stdout)
        assert told["epoch"]["number"] == 1
        assert told["epoch"]["started"] == "2023-11-14T22:20:00Z"
        assert (told["counts"]["sets"], told["counts"]["decisions"], told["counts"]["orders"]) == (4, 16, 4)
        assert told["events"] == {"stop": 1}
        assert told["last_bars"]["ES:1h"] == "2023-11-15T09:20:00Z"
        assert [row["symbol"] for row in told["newest"]["decisions"]] == ["ES", "NQ"]
        assert told["newest"]["decisions"][0]["sequence"] == 4
        assert told["newest"]["orders"][0]["price"] is None
        assert told["newest"]["events"][0]["content"] == {"why": "stale feed"}

    def test_tables(self, path: Path) -> None:
        text = run("show", "--journal", path).stdout
        for part in (
            "epoch 1 (paper)",
            "sets 4",
            "ES:1h 2023-11-15T09:20:00Z",
            "newest orders",
            "stale feed",
        ):
            assert part in text

    def test_an_empty_journal(self, tmp_path: Path) -> None:
        Journal.open(tmp_path / "live.db").close()
        assert json.loads(run("show", "--journal", tmp_path / "live.db", "--json").stdout)["epoch"] is None
        assert "no epoch yet" in run("show", "--journal", tmp_path / "live.db").stdout

    def test_while_a_writer_is_active(self, path: Path) -> None:
        with Journal.open(path):
            assert run("show", "--journal", path).exit_code == 0
            assert run("verify", "--journal", path).exit_code == 0


class TestVerify:
    def test_whole(self, path: Path) -> None:
        result = run("verify", "--journal", path)
        assert (result.exit_code, result.stdout) == (0, f"{path}: whole\n")

    def test_findings_are_told_and_fail(self, path: Path) -> None:
        tampered(path, "UPDATE bars SET close = 1 WHERE sequence = 2")
        result = run("verify", "--journal", path)
        assert result.exit_code == 1
        assert "entry 2: its hash" in result.stdout


def test_looking_leaves_nothing_beside_a_copy(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "copy.db"
    copy.parent.mkdir()
    for words in (
        ("backup", "--journal", path, "--out", copy),
        ("verify", "--journal", copy),
        ("show", "--journal", copy),
    ):
        assert run(*words).exit_code == 0
    assert list(copy.parent.iterdir()) == [copy]


def test_moments_are_told_exactly() -> None:
    assert iso(START) == "2023-11-14T22:20:00Z"
    assert iso(START + 1) == "2023-11-14T22:20:00.000000001Z"


def test_backup(path: Path, tmp_path: Path) -> None:
    assert run("backup", "--journal", path, "--out", tmp_path / "copy.db").exit_code == 0
    assert run("verify", "--journal", tmp_path / "copy.db").exit_code == 0
    with pytest.raises(JournalError, match="exists already"):
        run("backup", "--journal", path, "--out", tmp_path / "copy.db")


def test_salvage(path: Path, tmp_path: Path) -> None:
    tampered(path, "UPDATE bars SET close = 1 WHERE sequence = 2")
    result = run("salvage", "--journal", path, "--out", tmp_path / "saved.db")
    assert result.exit_code == 1
    assert (
        result.stdout.splitlines()[0] == f"saved: epochs 1-1, entries 1-1, verified: {tmp_path / 'saved.db'}"
    )
    assert "lost, from there on: entry 2" in result.stdout
    assert run("verify", "--journal", tmp_path / "saved.db").exit_code == 0
    assert run("salvage", "--journal", tmp_path / "saved.db", "--out", tmp_path / "again.db").exit_code == 0


def test_the_script_refuses_in_one_line(tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / "journal.py"
    command = [sys.executable, str(script), "verify", "--journal", str(tmp_path / "live.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: journal {tmp_path}/live.db: there is none")
    assert len(done.stderr.splitlines()) == 1


def traded(folder: Path, **changes: object) -> Service:
    """Run a desk for three bar sets."""
    with Service(papers.config(folder, **changes), mode=None, environment={}, stop_after=3) as service:
        service.run()
    return service


class TestNewEpoch:
    @pytest.fixture
    def store(self, tmp_path: Path) -> ModelStore:
        return papers.store(tmp_path / "store")

    def begin(self, folder: Path, **changes: object) -> Result:
        config = papers.config(folder, **changes)
        return run("new-epoch", "--journal", folder / "live.db", "--reason", "meant", "--config", config)

    def epochs(self, folder: Path) -> tuple[Epoch, ...]:
        with Journal.open(folder / "live.db", readonly=True) as journal:
            return journal.epochs()

    def test_goes_on_with_other_hashes(self, tmp_path: Path, store: ModelStore) -> None:
        traded(tmp_path)
        told = self.begin(tmp_path, grace=7)
        assert (told.exit_code, told.stdout) == (0, "epoch 2: meant\n")
        first, second = self.epochs(tmp_path)
        with Journal.open(tmp_path / "live.db", readonly=True) as journal:
            last = journal.last_set()
        assert last is not None
        assert (second.number, second.reason) == (2, "meant")
        declared = load_instruments().digest(["COMP", "SPX"], ["embedded_comp", "embedded_spx"])
        read = {f"feature {each}": default_registry().fingerprint(each) for each in desks.model().plan.ids}
        assert second.hashes == {**live_hashes(tmp_path / "live.yml"), "instruments": declared, **read}
        assert first.hashes["instruments"] == declared
        assert second.bundles == first.bundles
        assert second.states == {"COMP": last.lanes[0].state}
        ends = {key: bars[-1][0] for key, bars in second.warmup.items()}
        assert ends == dict.fromkeys(first.warmup, last.release.stamp)

    def test_seats_a_version_that_the_running_desk_cannot_take(
        self, tmp_path: Path, store: ModelStore
    ) -> None:
        """Its windows are longer than what the desk keeps: a restart does not help, a new epoch does."""
        store.register(
            desks.bundle(ids=("ibs", "rsi_2", "zscore_100")), record=RECORD, by="me", now=papers.NOW
        )
        traded(tmp_path, memory_bars=30)
        store.promote("COMP", "v2", by="me", now=papers.NOW, reason="test", force=True)
        (words,) = traded(tmp_path, memory_bars=30).engine.handover.superseded.values()
        assert words.startswith("v2: its windows need 100 bars of COMP:1d, which the desk does not keep")
        assert "lockstep journal new-epoch" in words
        assert self.begin(tmp_path, memory_bars=30).exit_code == 0
        service = traded(tmp_path, memory_bars=30)
        assert service.engine.seats["COMP"].model.bundle.version == "v2"
        assert service.engine.seats["COMP"].windows.filling() == {}
        assert service.engine.handover.superseded == {}

    def test_follows_the_instruments_of_the_configuration(self, tmp_path: Path, store: ModelStore) -> None:
        spx = store.register(desks.bundle("SPX", seed=1), record=RECORD, by="me", now=papers.NOW)
        traded(tmp_path)
        both = [{"symbol": "COMP"}, {"symbol": "SPX"}]
        with pytest.raises(LiveError, match="SPX: no version is in production"):
            self.begin(tmp_path, instruments=both)
        assert len(self.epochs(tmp_path)) == 1
        store.promote("SPX", spx, by="me", now=papers.NOW, reason="test", force=True)
        self.begin(tmp_path, instruments=both)
        assert set(traded(tmp_path, instruments=both).engine.seats) == {"COMP", "SPX"}
        self.begin(tmp_path, instruments=both[1:])
        assert set(traded(tmp_path, instruments=both[1:]).engine.seats) == {"SPX"}

    def test_an_instrument_with_a_position_stays_and_keeps_its_version(
        self, tmp_path: Path, store: ModelStore
    ) -> None:
        store.register(desks.bundle(seed=2), record=RECORD, by="me", now=papers.NOW)
        while True:
            service = traded(tmp_path)
            state = service.engine.strategies["COMP"].state
            if state.account[0]:
                break
        store.promote("COMP", "v2", by="me", now=papers.NOW, reason="test", force=True)
        self.begin(tmp_path)
        first, second = self.epochs(tmp_path)
        assert second.bundles == first.bundles
        with pytest.raises(LiveError, match="COMP: has a position or an order waiting and is not in"):
            self.begin(tmp_path, instruments=[{"symbol": "SPX"}])

    def test_not_while_a_writer_is_active(self, tmp_path: Path, store: ModelStore) -> None:
        traded(tmp_path)
        with Journal.open(tmp_path / "live.db"), pytest.raises(JournalError, match="is writing it"):
            self.begin(tmp_path)

    def test_a_refusal_begins_nothing(self, path: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError):
            run("new-epoch", "--journal", path, "--reason", "x", "--config", tmp_path / "none.yml")
        with Journal.open(path, readonly=True) as journal:
            assert len(journal.epochs()) == 1


class TestHashes:
    def test_content_counts_layout_does_not(self, tmp_path: Path) -> None:
        config = papers.config(tmp_path, grace=5)
        first = live_hashes(config)
        content = dict(reversed(yaml.safe_load(config.read_text()).items()))
        config.write_text(f"# a comment\n{yaml.safe_dump(content, indent=8, sort_keys=False)}")
        assert live_hashes(config) == first
        changed = live_hashes(papers.config(tmp_path, grace=6))
        assert changed["config"] != first["config"]
        assert {**changed, "config": first["config"]} == first
        assert len(first["code"]) == len(first["config"]) == 64

    def test_libraries_that_decide_count_and_no_other(self, tmp_path: Path) -> None:
        found = live_hashes(papers.config(tmp_path))
        libraries = {name.removeprefix("library "): each for name, each in found.items() if "library" in name}
        assert libraries == identity.library_versions()
        assert "requests" not in libraries

    def test_a_feed_and_a_broker_count_where_they_are_used(self, tmp_path: Path) -> None:
        replayed = live_hashes(papers.config(tmp_path))
        assert replayed["feed replay"] == identity.plug_hash("lockstep.live.feeds.replay")
        assert not [name for name in replayed if name.startswith("broker") or name == "feed tail"]
        sent = live_hashes(papers.config(tmp_path, broker={"kind": "traderspost", "tickers": {"COMP": "NQ"}}))
        assert sent["broker traderspost"] == identity.plug_hash("lockstep.live.brokers.traderspost")

    def test_an_epoch_of_an_earlier_version_says_what_its_hash_can_prove(self, path: Path) -> None:
        with Journal.open(path, readonly=True) as journal:
            epoch = journal.newest_epoch()
        assert epoch is not None
        with pytest.raises(JournalError, match=r"begun by an earlier version.*cannot tell whether"):
            require_same(epoch, {"code": identity.code_hash(identity.DECIDING)}, epoch.mode)
        require_same(epoch, epoch.hashes, epoch.mode)
        here = replace(epoch, hashes={"code": f"c1-{'0' * 61}"})
        with pytest.raises(JournalError, match=r"^code changed since epoch 1"):
            require_same(here, {"code": identity.code_hash(identity.DECIDING)}, epoch.mode)
