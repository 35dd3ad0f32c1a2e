"""The notebooks run from top to bottom, and are committed without outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
TUTORIAL = NOTEBOOKS / "01_from_bars_to_backtest.ipynb"
TIMEOUT = 300


def run(path: Path, folder: Path) -> tuple[Any, Path]:
    """Return a notebook after a run in `folder`."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", resources=resources).execute()
    return notebook, folder


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the tutorial after a run, and the folder it ran in."""
    return run(TUTORIAL, tmp_path_factory.mktemp("notebook"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the notebook about training after a run."""
    return run(NOTEBOOKS / "02_train_and_promote.ipynb", tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the notebook about the live engine after a run."""
    return run(NOTEBOOKS / "03_live_and_parity.ipynb", tmp_path_factory.mktemp("lived"))


def outputs(executed: tuple[Any, Path], source: str) -> list[Any]:
    """Return the outputs of the one cell that contains `source`."""
    (cell,) = [each for each in executed[0].cells if each.cell_type == "code" and source in each.source]
    return list(cell.outputs)


def text(executed: tuple[Any, Path], source: str) -> str:
    parts = [one.get("text") or one["data"]["text/plain"] for one in outputs(executed, source)]
    return "".join(parts)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_are_committed_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    assert cells[0]["cell_type"] == "markdown"
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_bars_are_read_and_judged(executed: tuple[Any, Path]) -> None:
    assert "2018-12-31 21:00:00+00:00  6649.520020  6659.959961" in text(executed, "to_frame()")
    assert "0 findings" in text(executed, "assess(bars")
    assert "81.4% of the opens equal the previous close" in text(executed, "assess(old")


def test_features_are_described_and_misspellings_answered(executed: tuple[Any, Path]) -> None:
    assert "lookback    41 bars" in text(executed, "registry.describe")
    assert "did you mean volume_pctile_20?" in text(executed, "volume_percentile_20")
    assert "'rsi_2'" in text(executed, "registry.list")


def test_weak_closes_are_followed_by_better_days(executed: tuple[Any, Path]) -> None:
    lines = text(executed, "tenth = pd.cut").splitlines()[-10:]
    means = [float(line.split()[-2]) for line in lines]
    days = [int(line.split()[-3]) for line in lines]
    assert sum(days) == 5030
    assert means[0] > 0.1 > 0 > means[-1]


def test_the_backtest_trades_and_explains_itself(executed: tuple[Any, Path]) -> None:
    assert "decides on: ibs, atr_pctile_14_252, atr_14, rsi_2" in text(executed, "decides on")
    reasons = text(executed, "result.reasons")
    assert "filter atr_pctile_14_252" in reasons
    assert "cold atr_pctile_14_252" in reasons
    measures = dict(line.split() for line in text(executed, "result.metrics").splitlines()[:-1])
    assert float(measures["trades"]) > 400
    assert 0.5 < float(measures["win_rate"]) < 0.8


def test_the_equity_is_drawn(executed: tuple[Any, Path]) -> None:
    (shown,) = outputs(executed, "figure = go.Figure")
    drawn = shown["data"]["application/vnd.plotly.v1+json"]
    assert drawn["layout"]["title"]["text"] == "COMP: equity, USD"


def test_the_run_folder_is_there_and_looked_not_ahead(executed: tuple[Any, Path]) -> None:
    assert "no look-ahead" in text(executed, "report.verdict")
    (run,) = (executed[1] / "results").iterdir()
    assert run.name.startswith("COMP-tutorial-")
    assert (run / "tearsheet.html").stat().st_size > 1_000_000
    assert set(text(executed, "folder.iterdir").split()) >= {path.name for path in run.iterdir()}


def test_a_model_is_trained_judged_promoted_and_rolled_back(trained: tuple[Any, Path]) -> None:
    assert "1007 samples, 639 of them taken" in text(trained, "build_dataset(config")
    assert "golden vectors come out again" in text(trained, "store.register(trained")
    assert "not the registered file" in text(trained, "content[-1] ^ 1")
    assert "deflated Sharpe   False" in text(trained, "validate_version(").replace("\n", " ")
    refused = text(trained, 'reason="notebook"')
    assert "cannot be promoted: validation: was not passed; certificate: there is none" in refused
    history = text(trained, "store.rollback")
    assert "rolled back v1; production v2 -> v1" in history
    assert history.count("promote ") >= 2


def test_the_live_engine_is_killed_and_agrees_with_research(lived: tuple[Any, Path]) -> None:
    assert "252 bar sets, killed after" in text(lived, "live = run_live")
    assert "2 starts; the last one replayed" in text(lived, "journal.verify()")
    assert "findings: []" in text(lived, "journal.verify()")
    assert "0 differences" in text(lived, "research = run_backtest")
    assert "rsi_2" in text(lived, "np.nextafter")
    certified = text(lived, "certify(")
    assert "0 differences" in certified
    assert "passed | killed after" in certified
