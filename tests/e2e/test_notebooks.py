"""The notebooks run from top to bottom, and are committed without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.reports import Page

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


@pytest.fixture(scope="module")
def specified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the notebook about specs after a run."""
    return run(NOTEBOOKS / "04_specs.ipynb", tmp_path_factory.mktemp("specified"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the notebook about a portfolio after a run."""
    return run(NOTEBOOKS / "05_portfolio.ipynb", tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def risked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the notebook about risk after a run."""
    return run(NOTEBOOKS / "06_risk.ipynb", tmp_path_factory.mktemp("risked"))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the notebook about watching a desk after a run."""
    return run(NOTEBOOKS / "07_watching.ipynb", tmp_path_factory.mktemp("watched"))


@pytest.fixture(scope="module")
def proposed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the notebook about research agents after a run."""
    return run(NOTEBOOKS / "08_research_agents.ipynb", tmp_path_factory.mktemp("proposed"))


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the notebook that looks at a market after a run."""
    return run(NOTEBOOKS / "exploratory_analysis.ipynb", tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the notebook about a variant of a strategy after a run."""
    return run(NOTEBOOKS / "backtest_strategy_variant.ipynb", tmp_path_factory.mktemp("varied"))


@pytest.fixture(scope="module")
def leaned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the notebook about the importance of features after a run."""
    return run(NOTEBOOKS / "evaluate_feature_importance.ipynb", tmp_path_factory.mktemp("leaned"))


def outputs(executed: tuple[Any, Path], source: str) -> list[Any]:
    """Return the outputs of the one cell that is `source`, or else of the one that contains it."""
    cells = [each for each in executed[0].cells if each.cell_type == "code" and source in each.source]
    (cell,) = [each for each in cells if each.source == source] or cells
    return list(cell.outputs)


def text(executed: tuple[Any, Path], source: str) -> str:
    parts = [one.get("text") or one["data"]["text/plain"] for one in outputs(executed, source)]
    return "".join(parts)


def shown(executed: tuple[Any, Path], source: str) -> str:
    """Return the text of the HTML that the last output of a cell shows."""
    html = [
        one["data"]["text/html"] for one in outputs(executed, source) if "text/html" in one.get("data", {})
    ]
    return Page(html[-1]).text


def drawn(executed: tuple[Any, Path], source: str) -> Any:
    """Return the figure that a cell shows."""
    (figure,) = [one["data"]["application/vnd.plotly.v1+json"] for one in outputs(executed, source)]
    return figure


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_are_committed_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    assert cells[0]["cell_type"] == "markdown"
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_three_import_lines_carry_a_notebook(path: Path) -> None:
    cells = [each for each in json.loads(path.read_text())["cells"] if each["cell_type"] == "code"]
    lines = [line for cell in cells for line in cell["source"]]
    assert 1 <= sum(line.startswith(("import ", "from ")) for line in lines) <= 3
    assert any(".plot()" in line for line in lines)


def test_git_ignores_what_notebooks_write() -> None:
    written = [
        line for line in (NOTEBOOKS.parent / ".gitignore").read_text().splitlines() if "notebooks" in line
    ]
    assert written == ["/notebooks/desk/"]


def test_notebooks_write_into_their_desk_only(
    executed: tuple[Any, Path],
    trained: tuple[Any, Path],
    lived: tuple[Any, Path],
    specified: tuple[Any, Path],
    shared: tuple[Any, Path],
    risked: tuple[Any, Path],
    watched: tuple[Any, Path],
    proposed: tuple[Any, Path],
    varied: tuple[Any, Path],
    leaned: tuple[Any, Path],
    explored: tuple[Any, Path],
) -> None:
    with_one = (executed, trained, lived, specified, shared, risked, watched, proposed, varied, leaned)
    for _, folder in with_one:
        assert [path.name for path in folder.iterdir()] == ["desk"]
    assert list(explored[1].iterdir()) == []


def test_bars_are_read_and_judged(executed: tuple[Any, Path]) -> None:
    assert "2018-12-31 21:00" in shown(executed, 'bars = load_bars("COMP")')
    assert "Nothing." in shown(executed, "assess(bars")
    assert "opens equal to the previous close: 81.4%" in shown(executed, 'load_bars("SPX"')


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
    assert "decides on ibs, atr_pctile_14_252, atr_14, rsi_2" in shown(executed, "config = IbsConfig(")
    reasons = text(executed, "result.reasons")
    assert "filter atr_pctile_14_252" in reasons
    assert "cold atr_pctile_14_252" in reasons
    measures = dict(line.rsplit(maxsplit=1) for line in text(executed, "result.metrics").splitlines()[1:])
    assert float(measures["trades"]) > 400
    assert 0.5 < float(measures["win_rate"]) < 0.8
    assert "Profit factor" in shown(executed, 'result = backtest(config, "COMP")')
    assert drawn(executed, "result.plot()")["data"][0]["name"] == "COMP bought and held"


def test_the_run_folder_is_there_and_looked_not_ahead(executed: tuple[Any, Path]) -> None:
    assert "no look-ahead" in shown(executed, "lookahead(config")
    (run,) = (executed[1] / "desk/results").iterdir()
    assert run.name.startswith("COMP-tutorial-")
    assert (run / "tearsheet.html").stat().st_size > 1_000_000
    assert set(text(executed, "folder.iterdir").split()) >= {path.name for path in run.iterdir()}


def test_a_model_is_trained_judged_promoted_and_rolled_back(trained: tuple[Any, Path]) -> None:
    assert "Trials counted9as good as" in shown(trained, "found = sweep(")
    assert drawn(trained, "found.plot()")["data"]
    assert "v1 is a candidate" in shown(trained, "trained = train(")
    assert len(text(trained, "trained.steps").splitlines()) >= 5
    assert "Golden vectors" in shown(trained, "trained.bundle")
    assert "not the registered file" in text(trained, "content[-1] ^ 1")
    judged = shown(trained, "report = validate(")
    assert "deflated Sharpe" in judged
    assert "failed" in judged
    refused = "".join(one.get("text", "") for one in outputs(trained, 'reason="notebook"'))
    assert "cannot be promoted: validation: was not passed; certificate: there is none" in refused
    assert "v1 -> v2" in shown(trained, "alone = release(").replace("\n", " ")
    assert "rolled back v1; production v2 -> v1" in shown(trained, "rollback(")
    assert "v2" in shown(trained, "store")


def test_the_live_engine_is_killed_and_agrees_with_research(lived: tuple[Any, Path]) -> None:
    assert "252 bar sets" in shown(lived, "live = rehearse(")
    assert "killed once, went on once" in shown(lived, "live = rehearse(")
    assert len(drawn(lived, "live.plot()")["layout"]["shapes"]) == 1
    assert "no difference" in shown(lived, "compare(research, live)")
    assert "no difference" not in shown(lived, "other = research.config")
    certified = shown(lived, "certificate = certify(")
    assert "Parity holds" in certified
    assert "COMP v1" in shown(lived, "report = validate(")
    assert "production none -> v1" in shown(lived, "promote(bundle")


def test_a_spec_is_written_explained_searched_and_promoted(specified: tuple[Any, Path]) -> None:
    assert text(specified, "same meaning") == "same meaning: True\nanother exit: False\n"
    explained = shown(specified, 'explain(dip, "COMP")')
    assert (
        "it buys at the next bar's open when close_sma_atr_200_14 is above 0 and rsi_2 is below 10"
        in explained
    )
    assert "the last third is left alone" in explained
    assert "Profit factor" in shown(specified, 'result = backtest("rsi_2"')
    assert drawn(specified, "result.plot()")["data"]
    assert "Trials counted200" in shown(specified, "found = sweep(")
    refused = text(specified, "lockstep = f")
    assert "error: experiment 1, variant " in refused
    assert "--force --reason TEXT promotes it anyway" in " ".join(refused.split())
    promoted = text(specified, "promoted = RulesConfig.load")
    assert "strategy: desk/strategies/dip_v2.yaml" in promoted
    assert "dip_v2 decides at the close of every daily bar." in promoted
    assert (specified[1] / "desk/strategies/dip_v2.yaml").is_file()


def test_a_portfolio_is_made_and_traded(shared: tuple[Any, Path]) -> None:
    assert "method equal_risk" in shown(shared, "portfolio = optimize_portfolio(")
    names = [each["name"] for each in drawn(shared, "portfolio.plot()")["data"]]
    assert names == ["rule", "equal", "max_sharpe"]
    before, after = text(shared, "portfolio.limits.tried[0]").split("without more: ")[1].split(" and with: ")
    assert float(before) >= float(after.split()[0])
    assert float(after.split()[0]) <= 0.1
    assert "both engines" in text(shared, "!{lockstep} backtest")
    assert (shared[1] / "desk/portfolio_config.yml").is_file()


def test_risk_is_measured_shared_out_and_judged(risked: tuple[Any, Path]) -> None:
    filtered, plain, _ = (
        float(line.split()[-1].replace(",", "")) for line in text(risked, "recent = changes").splitlines()
    )
    assert filtered > plain
    assert "100 sessions, needs 270" in text(risked, "except Exception as refusal")
    together, whole = text(risked, "parts = var_decomposition(").rsplit("components: ", 1)[1].split(" of ")
    assert together == whole.strip()
    judged = text(risked, "report.judged_of(whose)")
    assert judged.count("violations of") == 4
    assert judged.count("p-values") == 4
    assert "Filtered historical (default)" in shown(risked, "report = risk(")
    assert "over the gate" in shown(risked, "tested = stress(")
    assert drawn(risked, "report.plot()")["data"]
    assert len(drawn(risked, "tested.plot()")["data"][0]["y"]) > 10


def test_a_desk_is_watched(watched: tuple[Any, Path]) -> None:
    page = shown(watched, "watched = monitor(")
    assert "no ALARM" in page
    assert "COMP win_rate" in page
    assert "84" in page, "trades that were taken"
    assert {trace["name"] for trace in drawn(watched, "watched.plot()")["data"]} == {
        "COMP pnl", "COMP win_rate", "desk",
    }  # fmt: skip
    assert "The smallest decay that a year of" in text(watched, "monitor explain")
    assert "'COMP': 0.0" in text(watched, "watched.counts()")
    assert "85 rows of outcomes" in text(watched, "data export outcomes")
    assert text(watched, "monitor rebuild").rstrip().endswith("True")


def test_agents_propose_and_the_gate_judges(proposed: tuple[Any, Path]) -> None:
    page = shown(proposed, "report = SessionReport(")
    assert "16 of 16 strategies" in page
    assert "Not promoted: nobody judged the winner yet" in page
    assert [each["name"] for each in drawn(proposed, "report.plot()")["data"]] == ["best so far", "technical"]
    best = [float(each) for each in re.findall(r", (-?\d\.\d+)\)", text(proposed, "engine.book.get_top(5)"))]
    assert best == sorted(best, reverse=True)
    assert "Niche(feature=" in text(proposed, "get_underexplored_areas")
    assert text(proposed, "ledger.head().trials") == "(True, 16)"
    judged = text(proposed, "agents gate 1")
    assert "of 19 replays on redrawn bars found as much: p = " in judged
    assert "Not promoted: " in judged
    assert (proposed[1] / "desk/session.html").stat().st_size > 1_000_000


def test_a_look_at_a_market_ends_with_what_noise_looks_like(explored: tuple[Any, Path]) -> None:
    line = text(explored, "shifts = draw.integers")
    assert re.match(r"the best of 3\d in noise, 95 %: 0\.0\d\d; here: 0\.0\d\d ", line)
    noise, found = map(float, re.findall(r"0\.\d{3}", line))
    # Nothing that was looked at stands out of what looking costs.
    assert 0.03 < noise < 0.1
    assert found < noise
    assert "their size" in text(explored, "autocorr")


def test_a_variant_is_compared_searched_around_and_registered(varied: tuple[Any, Path]) -> None:
    counted = text(varied, "evaluate variant")
    assert "ibs_baseline, entry.high=0.3 returns" in counted
    assert "NASDAQ100: 2 trials over these dates so far" in counted
    assert "registration 1 of 12" in text(varied, "candidates register")
    assert "Both engines agree on every record." in text(varied, "evaluate candidate")


def test_the_importance_of_features_comes_with_intervals(leaned: tuple[Any, Path]) -> None:
    assert "features are worth something beyond chance" in text(leaned, "found.low > 0")
    assert "rise of the log loss" in text(leaned, "table.head")
    assert "fingerprint" in text(leaned, "describe(found.ids[0])")
