"""`lockstep spec`: what it prints, what it refuses, and that it writes nothing but what it was asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lockstep.console import run as run_app
from lockstep.models import model_column
from lockstep.models.store import ModelStore, column_id
from operations.main import app
from support.models import NOW, RECORD, make_bundle

ROOT = Path(__file__).resolve().parents[2]
DIP = """\
family: rules
name: dip
long_entry:
  all:
    - {id: rsi_2, below: 10}
    - {not: {id: close_sma_atr_200_14, at_most: 0}}
long_exit: {id: rsi_2, above: 65}
max_bars: 10
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs `lockstep spec WORDS` in a folder with `dip.yaml`: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "dip.yaml").write_text(DIP)

    def called(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            run_app(lambda: app(["spec", *words], prog_name="lockstep"))
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return called


def write(name: str, old: str, new: str) -> str:
    assert old in DIP
    Path(name).write_text(DIP.replace(old, new))
    return name


class TestCheck:
    def test_a_sound_spec_is_shown(self, run: Run) -> None:
        code, out, err = run("check", "dip.yaml")
        assert (code, err) == (0, "")
        assert out.startswith(
            "dip.yaml: dip is sound. COMP, 1d bars, 1999-01-04 to 2012-05-01: 3,354 bars; the last third is "
            "left alone\n"
        )
        lines = [line.split() for line in out.splitlines()]
        assert ["rsi_2", "0", "to", "100", "0.1725", "99.98", "1999-03-03", "0.0%"] in lines
        assert "long_entry all of these: 138 2,981 4.6% 2002-01-14 2012-04-24".split() in lines
        assert "close_sma_atr_200_14 is above 0 1,646 2,981 55.2% 2000-06-26 2012-05-01".split() in lines
        assert "while flat enters long 138 3,354 4.1% 2002-01-14 2012-04-24".split() in lines

    def test_every_file_is_checked_and_every_reason_told(self, run: Run) -> None:
        never = write("never.yaml", "below: 10", "below: 0.1")
        unknown = write("unknown.yaml", "id: rsi_2, below", "id: rsi2, below")
        code, out, err = run("check", never, "dip.yaml", unknown)
        assert code == 2
        assert out.startswith("dip.yaml: dip is sound.")
        first, second, third = err.splitlines()
        assert first == (
            "error: never.yaml: long_entry: all of its conditions together are never true on 2,981 bars, "
            "1999-01-04 to 2012-05-01; change the constant or drop it"
        )
        assert second.startswith(
            "error: never.yaml: long_entry: 'rsi_2 is below 0.1' is never true on 3,314 bars"
        )
        assert third == "error: unknown.yaml: feature id 'rsi2': no feature 'rsi2'; did you mean rsi_2?"

    def test_both_sides_on_one_bar(self, run: Run) -> None:
        both = write("both.yaml", "max_bars", "short_entry: {id: ibs, above: 0.9}\nmax_bars")
        code, _, err = run("check", both)
        assert code == 2
        assert err.startswith("error: both.yaml: long_entry and short_entry are both true on ")
        assert "(reason `ambiguous`)" in err
        assert len(err.splitlines()) == 1

    def test_a_pair_that_is_not_loaded(self, run: Run, tmp_path: Path) -> None:
        folder = tmp_path / "futures_daily"
        folder.mkdir()
        rows = "\n".join(f"2018-12-{day:02},100,102,99,101,1000,5" for day in (3, 4, 6, 7))
        (folder / "ES_bt.csv").write_text(f"datetime,Open,High,Low,Close,volume,openinterest\n{rows}\n")
        pair = write("pair.yaml", "id: rsi_2, below: 10", "id: pair_ibs, below: 0.2")
        code, _, err = run("check", pair, "--symbol", "ES", "--data-dir", str(folder))
        assert code == 2
        assert err.startswith("error: pair.yaml: ")
        assert "NQ" in err
        assert len(err.splitlines()) == 1

    def test_a_model_reference_with_another_hash(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = ModelStore(tmp_path / "store")
        store.folder.mkdir()
        monkeypatch.setattr(model_column, "_opened", {})
        monkeypatch.setenv("LOCKSTEP_MODEL_STORE", str(store.folder))
        version = store.register(make_bundle(), record=RECORD, by="test", now=NOW)
        sha256 = store.manifest().entry("ES", version).sha256
        right, wrong = (column_id("ES", version, each) for each in (sha256, "0" * 64))
        veto = f"veto: {{id: '{wrong}', at_least: 0.4}}\nmax_bars"
        code, out, err = run("check", write("model.yaml", "max_bars", veto))
        assert (code, out) == (2, "")
        assert err == (
            f"error: model.yaml: feature id '{wrong}': model reference with another hash: in {store.folder} "
            f"it is {right}\n"
        )
        # Control: with its own hash the id is known, and what stops the check is something else.
        _, _, err = run("check", write("right.yaml", "max_bars", veto.replace(wrong, right)))
        assert "another hash" not in err

    def test_other_families_and_missing_files(self, run: Run, tmp_path: Path) -> None:
        Path("ibs.yaml").write_text("name: ibs\n")
        code, _, err = run("check", "ibs.yaml", "none.yaml")
        assert code == 2
        assert err.splitlines() == [
            "error: ibs.yaml: family ibs is no spec; only `family: rules` has conditions",
            "error: none.yaml: cannot be read as YAML: No such file or directory",
        ]

    def test_it_looks_at_no_sealed_day_and_counts_no_look(self, run: Run) -> None:
        from datetime import UTC, datetime

        from lockstep.market.config import load_instruments
        from lockstep.market.dates import DateRange
        from lockstep.market.families import load_families
        from research.ledger.database import Database
        from research.ledger.ledger import Ledger

        ledger = Ledger(Database.open())
        family = load_families().of(load_instruments().instrument("COMP"))
        ledger.enact(
            family, DateRange.of("2001-01-02", "2008-12-31"), limits={},
            holdout=DateRange.of("2009-01-02", "2012-12-31"), now=datetime.now(UTC),
        )  # fmt: skip
        code, out, _ = run("check", "dip.yaml", "--end", "2015-12-31")
        assert code == 0
        assert "1999-01-04 to 2008-12-31: 2,515 bars; from 2009-01-02 on they are sealed as a hold-out" in out
        assert ledger.looks(family, DateRange()) == []

    def test_a_folder_needs_a_symbol(self, run: Run) -> None:
        code, _, err = run("check", "dip.yaml", "--data-dir", "here")
        assert (code, err) == (
            2, "error: dip.yaml: --data-dir here: name one of its symbols, such as --symbol ES\n",
        )  # fmt: skip


class TestExplain:
    def test_sentences_meanings_and_frequencies(self, run: Run) -> None:
        code, out, _ = run("explain", "dip.yaml", "--start", "2001-01-02", "--end", "2005-12-30")
        assert code == 0
        assert out.startswith("dip decides at the close of every daily bar.\nWhile it holds nothing, it buys")
        assert "when rsi_2 is below 10 and close_sma_atr_200_14 is above 0.\n" in out
        assert "Relative strength index" in out
        assert "How often: COMP, 1d bars, 2001-01-02 to 2005-12-30: 1,256 bars.\n" in out

    def test_without_fitting_bars_it_still_explains(self, run: Run) -> None:
        hourly = write("hourly.yaml", "name: dip", "name: dip\ntimeframe: 1h")
        code, out, _ = run("explain", hourly)
        assert code == 0
        assert "every hourly bar" in out
        assert "How often: not told, since " in out

    def test_bars_that_were_asked_for_must_be_there(self, run: Run) -> None:
        hourly = write("hourly.yaml", "name: dip", "name: dip\ntimeframe: 1h")
        code, out, err = run("explain", hourly, "--symbol", "COMP")
        assert (code, out, len(err.splitlines())) == (2, "", 1)


class TestExport:
    def test_python_is_printed_or_written(self, run: Run, tmp_path: Path) -> None:
        code, out, _ = run("export", "--python", "dip.yaml")
        assert code == 0
        assert [type(each).__name__ for each in ast.parse(out).body] == ["Expr", "ImportFrom", "ClassDef"]
        assert run("export", "--python", "dip.yaml", "--out", "dip.py") == (0, "dip.py\n", "")
        assert Path("dip.py").read_text() == out

    def test_a_form_must_be_named(self, run: Run) -> None:
        assert (
            run("export", "dip.yaml")[2] == "error: nothing to write: give --python, the one form there is\n"
        )

    def test_a_place_that_cannot_be_written(self, run: Run) -> None:
        code, _, err = run("export", "--python", "dip.yaml", "--out", "none/dip.py")
        assert code == 2
        assert err.startswith("error: none/dip.py: cannot be written: ")


class TestDiff:
    def test_what_differs(self, run: Run) -> None:
        other = write("other.yaml", "below: 10", "below: 5")
        code, out, _ = run("diff", "dip.yaml", other)
        assert code == 0
        assert out.startswith("Different meaning: ")
        assert "long_entry\n  all of these:\n-   rsi_2 is below 10\n+   rsi_2 is below 5\n" in out
        lines = [line.split() for line in out.splitlines()]
        assert "long_entry 138 55 83 2002-01-14".split() in lines
        assert ["long_exit", "1,454", "1,454", "0"] in lines

    def test_the_same_twice(self, run: Run) -> None:
        code, out, _ = run("diff", "dip.yaml", "dip.yaml")
        assert code == 0
        assert out.startswith("Same meaning: ")

    def test_other_bars_are_not_compared(self, run: Run) -> None:
        hourly = write("hourly.yaml", "name: dip", "name: dip\ntimeframe: 1h")
        _, out, _ = run("diff", "dip.yaml", hourly)
        assert "Signals: not compared, since they decide on bars of different timeframes" in out


def test_its_help_page_loads_no_command() -> None:
    shown = CliRunner().invoke(app, ["spec", "--help"], env={"COLUMNS": "100"}).output
    for name in ("check", "explain", "export", "diff"):
        assert f"│ {name} " in shown
    code = (
        "import sys; from typer.testing import CliRunner; from operations.main import app; "
        "CliRunner().invoke(app, ['spec', '--help']); assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
