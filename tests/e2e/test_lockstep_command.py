"""`lockstep`: its table of contents, its commands and the scripts, its speed, its refusals."""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lockstep import __version__
from lockstep.errors import LockstepError
from lockstep.identity import ROOTS, hashes
from lockstep.market.command_line import _respelled
from operations.lazy_commands import walk
from operations.main import app, contents
from operations.version import _MEANING

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "backtrader", "exchange_calendars", "numba", "numpy", "pandas", "plotly", "pyarrow", "pydantic",
    "sklearn", "sqlalchemy",
}  # fmt: skip
MODULE = (sys.executable, "-m", "operations.main")


ENTRIES = dict(walk(contents.entries))
LEAVES = {path: each for path, each in ENTRIES.items() if each.load is not None}
SCRIPTS = {path.stem for path in (ROOT / "scripts").glob("*.py")}


def lockstep(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "COLUMNS": "120", **environment}
    return subprocess.run(
        [*MODULE, *arguments], cwd=ROOT, env=settings, capture_output=True, text=True, check=False
    )


def test_help_is_a_table_of_contents() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    for entry in contents.entries:
        assert re.search(rf"^│ {entry.name} +{re.escape(entry.help)}", shown, re.MULTILINE), entry.name
    panels = dict.fromkeys(each.panel for each in contents.entries)
    places = [shown.index(f"─ {panel} ─") for panel in panels]
    assert places == sorted(places)
    assert len(panels) >= 4


@pytest.mark.parametrize("path", ENTRIES, ids=" ".join)
def test_a_line_of_help_is_one_short_sentence(path: tuple[str, ...]) -> None:
    text = ENTRIES[path].help
    assert text.endswith(".")
    assert text[0].isupper()
    assert len(text) <= 60


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*path, "--help"], prog_name="lockstep")
    assert done.exit_code == 0, done.output
    assert f"Usage: lockstep {' '.join(path)}" in done.output


def test_scripts_and_commands_are_the_same_apps() -> None:
    """Each script is a thin door to the app of one command."""
    behind = {each.script: each for each in LEAVES.values() if each.script}
    assert set(behind) == SCRIPTS
    for name, entry in behind.items():
        assert entry.load is not None
        assert importlib.import_module(f"scripts.{name}").app is entry.load(), name
        assert len((ROOT / "scripts" / f"{name}.py").read_text().splitlines()) <= 40, name


def test_help_costs_no_more_than_its_library() -> None:
    """What a help page of Typer itself costs is the floor; the commands' libraries are not loaded."""
    trivial = "import typer; app = typer.Typer(); app.command()(lambda: None); app()"
    floor, cost = cpu_seconds([sys.executable, "-c", trivial, "--help"]), cpu_seconds([*MODULE, "--help"])
    assert cost < floor + 0.15, f"{cost:.2f} s of CPU, Typer alone {floor:.2f} s"
    code = (
        "import sys; from typer.testing import CliRunner; from operations.main import app; "
        "CliRunner().invoke(app, ['--help']); print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert HEAVY.isdisjoint(loaded.stdout.split())


def cpu_seconds(command: list[str]) -> float:
    def one() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(one() for _ in range(3))


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        (["backtset"], "backtest"),
        (["models", "lst"], "list"),
        (["models", "keys", "sing"], "sign"),
        (["train_model"], "train"),
        (["check_parity"], "certify"),
    ],
)
def test_a_misspelled_command_names_the_nearest(typed: list[str], nearest: str) -> None:
    done = lockstep(*typed)
    assert done.returncode == 2
    assert f"Did you mean '{nearest}'?" in " ".join(done.stderr.split())


def test_a_word_that_is_near_nothing_is_only_refused() -> None:
    done = lockstep("quux")
    assert done.returncode == 2
    assert "No such command 'quux'." in done.stderr
    assert "Did you mean" not in done.stderr


def test_a_refusal_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = lockstep("promote", "ES", "v1", "--store", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == "error: instrument 'ES': not in the manifest; known are none\n"
    assert not (tmp_path / "manifest.json").exists()


def test_an_exit_code_goes_through(tmp_path: Path) -> None:
    done = lockstep("status", "--file", str(tmp_path / "none.json"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert lockstep("--version").stdout.startswith("lockstep ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("lockstep exp", "experiments"),
        ("lockstep models re", "rebuild"),
        ("lockstep train --conf", "--config"),
    ],
)
def test_the_shell_completes(words: str, expected: str) -> None:
    done = lockstep(
        _LOCKSTEP_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1)
    )
    assert expected in done.stdout.split(), (done.stdout, done.stderr)


# Where an option means something else than its usual word says, and why that is right.
PINNED = {
    ("--config", "train"): "of the training",
    **{
        ("--config", f"monitor {each}"): "of the monitor"
        for each in ("run", "show", "ack", "rebuild", "explain")
    },
    **{
        ("--config", f"retrain {each}"): "of retraining"
        for each in ("plan", "run", "status", "approve", "abort")
    },
    **{
        ("--config", f"pipeline {each}"): "of nights"
        for each in ("run", "resume", "status", "history", "show")
    },
    ("--config", "agents session"): "of a session",
    ("--shared-js", "backtest"): "the folder is --out",
}
# What users of other commands would type, and how it is spelled here.
ONE_SPELLING = {
    "--strategy": {"--strategy-path", "--strategy-file", "--base-strategy"},
    "--start": {"--from-date", "--since", "--first", "--begin", "--start-date"},
    "--end": {"--until", "--to", "--last-date", "--end-date"},
    "--symbols": {"--ticker", "--instrument"},
    "--out": {"--report", "--output", "--out-dir", "--to", "--into"},
    "--version": {"--model", "--model-version"},
    "--grid": {"--grid-path", "--grid-file"},
}
OF_THE_ENGINE = ("live", "orders", "rollout", "portfolio", "journal", "data bars", "dashboard")


def options() -> Iterator[tuple[str, Any]]:
    """Yield every option of every command, hidden ones too."""

    def of(command: Any, path: str) -> Iterator[tuple[str, Any]]:
        for name, inside in getattr(command, "commands", {}).items():
            yield from of(inside, f"{path} {name}")
        for each in command.params:
            if each.param_type_name == "option" and each.name != "help":
                yield path, each

    for path, entry in LEAVES.items():
        yield from of(entry.command(), " ".join(path))


def test_one_thing_has_one_spelling_everywhere() -> None:
    seen: dict[str, dict[bool, list[str]]] = {}
    for path, option in options():
        assert option.help, f"{path} {option.opts}: no help"
        for spelling in option.opts:
            for canonical, others in ONE_SPELLING.items():
                assert spelling not in others, f"{path} {spelling}: write {canonical}"
            if (spelling, path) not in PINNED:
                seen.setdefault(spelling, {}).setdefault(option.is_flag, []).append(path)
        if set(option.opts) & {"--symbol", "--symbols"}:
            assert set(option.opts) == {"--symbol", "--symbols"}, path
        if "--config" in option.opts and ("--config", path) not in PINNED:
            assert path.startswith(OF_THE_ENGINE), f"{path}: --config is the engine's"
            assert option.envvar == "LOCKSTEP_CONFIG", path
    for spelling, kinds in seen.items():
        assert len(kinds) == 1, f"{spelling} is a flag in some commands and takes a value in others: {kinds}"


@pytest.mark.parametrize(
    ("words", "warning"),
    [
        ("backtest --symbol COMP --config none.yaml", "--config is now --strategy"),
        ("backtest --symbol COMP --config=none.yaml", "--config is now --strategy"),
        ("backtest --symbol COMP --model v1 --timeframe 1d", "--model is now --version"),
        ("check lookahead --symbol COMP --model v1 --strategy x", "--model is now --version"),
        ("experiments grid-search --name x --strategy-path x --grid-path y", "--grid-path is now --grid"),
        ("data export fills --out x --from 1", "--from is now --start"),
        ("journal backup --journal none.db --to x", "--to is now --out"),
        ("rollback ES --reason x --to v1 --store nowhere", "--to is now --version"),
    ],
)
def test_old_spellings_work_with_a_line_of_warning(
    words: str,
    warning: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LockstepError):
        app(words.split(), prog_name="lockstep", standalone_mode=False)
    (line,) = (each for each in capsys.readouterr().err.splitlines() if warning in each)
    assert line.startswith("warning: ")


def test_only_options_are_respelled() -> None:
    old = {"--config": "--strategy"}
    words = ["--strategy", "x", "--", "--config"]
    assert list(_respelled(words, old, quiet=False)) == words
    assert list(_respelled(["--config=a"], old, quiet=True)) == ["--strategy=a"]


def test_context_reaches_a_command_that_may_not_import_it() -> None:
    """`experiments actual` reads journals by what certify brings; research may not import that."""
    entry = ENTRIES[("experiments",)]
    assert entry.context is not None
    assert entry.context().__module__.startswith("certify")
    assert isinstance(app, typer.Typer)


def test_version_names_code_lock_and_libraries() -> None:
    assert lockstep("version").stdout == f"lockstep {__version__}\n"
    told = json.loads(lockstep("version", "--hashes", "--json").stdout)
    assert told == {"version": __version__, **hashes()}
    said = lockstep("version", "--hashes").stdout
    for value in (*told["code"].values(), *told["libraries"].values(), told["lock"], told["python"]):
        assert value in said
    assert set(_MEANING) == set(ROOTS)
    for root, digest in told["code"].items():
        assert re.search(rf"^{root} +{re.escape(digest)}  {re.escape(_MEANING[root])}$", said, re.MULTILINE)


def test_messages_name_the_command_and_no_script() -> None:
    """A message's way out must exist outside a checkout, too."""
    named = set()
    for folder in ("src", "research", "certify", "operations"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"scripts/\w+\.py", text) or path.name == "lazy_commands.py", path
            named |= set(re.findall(r"(?:run|with|see|one:|JSON of) lockstep ((?:[a-z-]+ ?)+)", text))
    assert len(named) >= 4
    first = {path[0] for path in ENTRIES}
    for words in named:
        assert words.split()[0] in first, words
