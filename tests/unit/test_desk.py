"""A desk folder: how it is found, what comes first, what is refused, and what `lockstep init` leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lockstep.desk import DeskFolder, anchored, desk_file, desk_folder, results_folder
from lockstep.errors import ConfigError
from lockstep.live.config import LiveConfig
from lockstep.live.feeds.tail import TailFeedSettings
from lockstep.live.main import _starting
from lockstep.market.command_line import live_file, strategy_file, target_file
from lockstep.market.config import load_instruments, user_file
from lockstep.models.store import default_folder
from lockstep.secrets import Secrets
from lockstep.strategy.families.ibs import IbsConfig
from operations.init import app, make_desk
from research.experiments.grid import Grid
from research.ledger.database import default_url
from research.training.config import load_training

KO = "instruments: {KO: {session: NYSE, multiplier: 1, tick_size: 0.01, commission: 0}}\n"
VARIABLES = ("LOCKSTEP_HOME", "LOCKSTEP_INSTRUMENTS", "LOCKSTEP_MODEL_STORE", "LOCKSTEP_DB")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a desk; the working folder is two folders below it, and the environment names nothing."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    root = make_desk(tmp_path / "desk")
    below = root / "notes" / "today"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    return root


def test_every_default_is_a_place_of_the_desk(desk: Path) -> None:
    assert default_folder() == desk / "store"
    assert default_url() == f"sqlite:///{desk}/experiments.db"
    assert user_file() == target_file(None) == desk / "instruments.yml"
    assert strategy_file() == desk / "strategies" / "ibs.yaml"
    assert live_file() == desk / "live.yml"
    assert results_folder("training") == desk / "results" / "training"
    assert desk_file("strategies", "configs/strategies") == desk / "strategies"


def test_the_environment_comes_before_the_desk(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = desk.parent / "other.yml"
    other.write_text(KO)
    monkeypatch.setenv("LOCKSTEP_INSTRUMENTS", str(other))
    monkeypatch.setenv("LOCKSTEP_MODEL_STORE", "/somewhere/store")
    monkeypatch.setenv("LOCKSTEP_DB", "sqlite:///other.db")
    assert user_file() == other
    assert default_folder() == Path("/somewhere/store")
    assert default_url() == "sqlite:///other.db"


def test_outside_a_desk_the_defaults_are_as_ever(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.parent)
    assert desk_folder() is None
    assert results_folder("training") == Path("results/training")
    assert live_file() == Path("configs/live.yml")
    assert strategy_file().name == "ibs_baseline.yaml"
    assert user_file() is None
    assert default_url() == f"sqlite:///{desk.parent}/data/lockstep/experiments.db"


def test_home_names_a_desk_from_anywhere(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.parent)
    monkeypatch.setenv("LOCKSTEP_HOME", str(desk))
    assert default_folder() == desk / "store"
    monkeypatch.chdir(desk)
    monkeypatch.setenv("LOCKSTEP_HOME", "")
    assert desk_folder() is None, "set but empty: no desk"
    monkeypatch.setenv("LOCKSTEP_HOME", str(desk / "notes"))
    with pytest.raises(ConfigError, match=r"LOCKSTEP_HOME .*/notes: no lockstep.yml in it"):
        desk_folder()


def test_the_nearest_desk_counts(desk: Path) -> None:
    inner = make_desk(desk / "notes" / "inner")
    assert desk_folder(inner) == DeskFolder.under(inner)
    assert desk_folder(desk / "notes") == DeskFolder.under(desk)


def test_places_can_be_moved(desk: Path) -> None:
    (desk / "lockstep.yml").write_text("store: /mnt/store\ndatabase: postgresql+psycopg://host/db\n")
    assert default_folder() == Path("/mnt/store")
    assert default_url() == "postgresql+psycopg://host/db"
    assert live_file() == desk / "live.yml"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stor: x\n", r"lockstep.yml: stor: no such place of a desk; did you mean 'store'\?"),
        ("store: 3\n", r"lockstep.yml: store: 3: expected a path"),
        ("- store\n", r"lockstep.yml: expected values by name"),
        ("store: [\n", r"lockstep.yml: cannot be read as YAML"),
    ],
)
def test_a_wrong_marker_is_refused_in_one_line(desk: Path, content: str, message: str) -> None:
    (desk / "lockstep.yml").write_text(content)
    with pytest.raises(ConfigError, match=message) as refused:
        default_folder()
    assert "\n" not in str(refused.value)


def test_what_init_leaves_can_be_used(desk: Path) -> None:
    assert load_instruments().digest, "the shipped book with an empty file on top"
    strategy = IbsConfig.load(desk / "strategies" / "ibs.yaml")
    assert load_training(desk / "training" / "COMP.yml").strategy == strategy
    assert Grid.load(desk / "grids" / "ibs.yaml").symbols == ("COMP",)
    live = LiveConfig.load(desk / "live.yml")
    assert live.journal == desk / "live" / "paper.db"
    assert live.switches.kill_file == desk / "live" / "KILL"
    (desk / "instruments.yml").write_text(KO)
    assert "KO" in load_instruments().instruments


def test_a_desk_can_be_moved(desk: Path) -> None:
    moved = desk.rename(desk.parent / "moved")
    assert LiveConfig.load(moved / "live.yml").mailbox == moved / "live" / "mailbox"
    told = _starting(moved / "live.yml", None, {}, Secrets({}))
    assert told._path == moved / "live" / "status.json"


def test_paths_in_models_and_tuples_are_anchored(desk: Path) -> None:
    text = (desk / "live.yml").read_text()
    replay = "{kind: replay, start: 2018-01-02, end: 2018-12-31}"
    assert replay in text
    tail = "{kind: tail, symbol: COMP, path: bars/COMP.csv, source: mine}"
    (desk / "live.yml").write_text(text.replace(replay, tail))
    (feed,) = LiveConfig.load(desk / "live.yml").feeds
    assert isinstance(feed, TailFeedSettings)
    assert feed.path == desk / "bars" / "COMP.csv"
    assert anchored(Path("/x"), desk) == Path("/x")


@pytest.mark.parametrize("kind", ["not empty", "a desk already", "a file"])
def test_init_refuses_what_is_not_empty_and_changes_nothing(desk: Path, kind: str) -> None:
    folder = desk.parent / "taken"
    if kind == "a file":
        folder.write_text("mine")
    elif kind == "a desk already":
        folder = desk
    else:
        folder.mkdir()
        (folder / "mine.txt").write_text("mine")
    before = snapshot(desk.parent)
    done = CliRunner().invoke(app, [str(folder)])
    assert isinstance(done.exception, ConfigError)
    assert f"is {kind}; name a new or empty folder" in str(done.exception)
    assert snapshot(desk.parent) == before


def test_init_takes_an_empty_folder_and_prints_what_comes_next(desk: Path) -> None:
    folder = desk.parent / "empty"
    folder.mkdir()
    done = CliRunner().invoke(app, [str(folder)])
    assert done.exit_code == 0, done.output
    assert f"cd {folder}" in done.output
    assert "promote COMP v1" in done.output
    assert (folder / "lockstep.yml").is_file()
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_folder_that_cannot_be_made_is_one_line(desk: Path) -> None:
    (desk.parent / "file").write_text("")
    done = CliRunner().invoke(app, [str(desk.parent / "file" / "below")])
    assert isinstance(done.exception, ConfigError)
    assert "cannot be made" in str(done.exception)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        os.path.join(where, name): Path(where, name).read_bytes()
        for where, _, names in os.walk(folder)
        for name in names
    }
