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


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the tutorial after a run, and the folder it ran in."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(TUTORIAL, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", resources=resources).execute()
    return notebook, folder


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
