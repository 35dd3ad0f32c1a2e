"""Looks are looks: who may run a strategy over history, and why sealed dates are safe there.

The engines are pure: they count nothing. So each module that can reach one is listed here with the reason why
no result on sealed dates gets past the ledger, and a module that is not listed fails this test.
"""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Iterator, Mapping

import pytest

from support.sources import ROOT, trees

ENGINES = {
    "run_backtest", "sweep", "trace", "residuals", "bundle_account", "bundle_backtest", "build_cerebro",
    "CompiledRun", "compiled_loop", "run_portfolio", "sweep_portfolio", "trace_portfolio",
    # What hands one of them on.
    "backtrader_course", "backtrader", "evaluate", "on_cluster", "DEFAULT_EVALUATOR", "backtest",
    "swept_residuals", "traced_spec",
}  # fmt: skip
HOMES = {
    "research.experiments.accounts", "research.experiments.verification", "research.experiments.evaluation",
    "research.experiments", "research.experiments.diagnostics", "research.training.out_of_sample",
    "research.training", "research.sweep.residuals",
    "research.backtest.run", "research.backtest.engine", "research.sweep.run", "research.sweep",
    "research.sweep.work",
    "research.backtest.account", "research", "research.backtest.portfolio", "research.sweep.portfolio",
    "lockstep.strategy.backtrader.cerebro", "lockstep.strategy.backtrader", "research.backtest",
}  # fmt: skip

# Modules that open sealed dates by hand, with the call that counts the look before the run.
COUNTED = {
    "research/backtest_runner.py": "open_door",
    "research/experiments/comparison.py": "open_door",
    "operations/verbs.py": "open_door",
    "operations/evaluations.py": "open_door",
    "research/agents/gate.py": "open_door",
}
# What these run is counted by their callers: as trials, or as a look that is taken once.
TRIALS = {
    "research/experiments/evaluation.py": "the sweep of `Search`, which counts each evaluation as a trial",
    "research/experiments/verification.py": "winners again, over the dates of their search",
    "research/experiments/execution.py": "`Lab` hands the engines to a search; a promotion takes its own "
    "over the hold-out after it counted the look",
    "research/experiments/diagnostics.py": "all trials of a search again, over its own test ranges",
    "research/experiments/search.py": "counts every evaluation as a trial",
    "research/experiments/repeats.py": "what is new of a batch of `Search`, which counts all of it",
    "research/experiments/search_cli.py": "says where a search computes",
    "operations/nightly/night.py": "says where the searches of a night compute",
    "research/experiments/replay.py": "the search again over its own dates, on decisions that were moved",
    "research/experiments/accounts.py": "winners again, over the dates of their search",
    "research/training/round_trips.py": "labels of the training, whose steps are trials",
    "research/training/out_of_sample.py": "walk-forward of the training; the hold-out after `look_once`",
    "research/training/release.py": "development dates, which are a trial; the hold-out after `look_once`",
    "research/model_validation/case.py": "the dates before the hold-out, which the training counted",
    "research/model_validation/gathering.py": "the champion over the dates before the challenger's hold-out",
    "research/agents/evaluation.py": "bars of a training range, which its callers cut: each proposal of a "
    "session of agents is a trial",
    "research/optimise/streams.py": "portfolios on the dates of `lanes.py`, which are out of sample and not "
    "sealed, or opened through `open_door`",
    "research/stress/run.py": "changed bars; `HistoryRunner` opened the dates of those that were changed",
    "operations/contenders.py": "how much a candidate moved, what it earned on days that are not "
    "sealed; then bars that came later",
}
# What these run is compared with itself: equal or not is all that is shown.
PARITY = {
    "research/backtest/account.py": "`bundle_backtest` is an engine itself",
    "research/checks/computations.py": "the same run with and without later bars: the first difference",
    "certify/run.py": "research against sweep against live engine: bars, decisions, fills that differ",
    "certify/sweep_side.py": "the sweep's side of it",
    "certify/portfolio.py": "the same of a portfolio, whose proposals are compared as well",
    "src/live/engine.py": "the live engine: it trades bars as they come, and journals every one",
    "certify/paper_portfolio.py": "the same of a lane, given what its portfolio answered",
    "certify/paper.py": "what the paper desk did already, against a backtest of the same sessions",
    "src/strategy/backtrader/cerebro.py": "the engine",
    "research/backtest/run.py": "`run_backtest`, the one door of both engines: who calls it is listed here",
    "research/backtest/portfolio.py": "`run_portfolio`, an engine itself: who calls it is listed here",
    "research/backtest/portfolio_engine.py": "both engines of `run_portfolio`",
    "research/sweep/run.py": "the engine",
    "research/sweep/portfolio.py": "the engine",
}
ALLOWED = COUNTED | TRIALS | PARITY


def sources() -> dict[str, ast.Module]:
    """Return all modules, and the notebooks as if they were."""
    return {**trees(), **_notebooks()}


@functools.cache
def _notebooks() -> dict[str, ast.Module]:
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        lines = [
            line.rstrip("\n") for each in cells if each["cell_type"] == "code" for line in each["source"]
        ]
        code = "\n".join(line for line in lines if not line.startswith(("%", "!")))
        found[path.relative_to(ROOT).as_posix()] = ast.parse(code)
    return found


def reached(tree: ast.Module) -> Iterator[str]:
    """Yield the engines that a module can call: it imports one, or names it on a module that it imports."""
    modules = set()
    for node in _running(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                if node.module in HOMES and each.name in ENGINES:
                    yield each.name
                if f"{node.module}.{each.name}" in HOMES:
                    modules.add(each.asname or each.name)
        elif isinstance(node, ast.Import):
            modules |= {each.asname or each.name for each in node.names if each.name in HOMES}
    for node in _running(tree):
        if isinstance(node, ast.Attribute) and node.attr in ENGINES and ast.unparse(node.value) in modules:
            yield node.attr
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            if node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value in HOMES:
                yield str(node.args[0].value)


def _running(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield all nodes but those that only type checkers see."""
    hidden: set[int] = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            hidden |= {id(each) for part in node.body for each in ast.walk(part)}
            continue
        yield node


def routes(found: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """Return, by file, the engines that it reaches."""
    every = {path: set(reached(tree)) for path, tree in found.items()}
    return {path: engines for path, engines in every.items() if engines}


@pytest.mark.no_cover
def test_there_is_no_other_route_to_a_result() -> None:
    others = {path: engines for path, engines in routes(sources()).items() if path not in ALLOWED}
    assert others == {}, (
        "these reach an engine: show no result on sealed dates, or count the look with `open_door`, and list "
        "the module with the reason"
    )


@pytest.mark.no_cover
def test_the_list_names_no_module_that_is_gone() -> None:
    assert ALLOWED.keys() <= sources().keys()
    assert COUNTED.keys() | TRIALS.keys() <= routes(sources()).keys()


@pytest.mark.parametrize(("path", "door"), COUNTED.items())
def test_a_door_counts_the_look_before_the_run(path: str, door: str) -> None:
    calls = [ast.unparse(node.func) for node in ast.walk(sources()[path]) if isinstance(node, ast.Call)]
    assert door in calls


@pytest.mark.parametrize(
    "code",
    [
        "from research.backtest.run import run_backtest\n",
        "from research.backtest.run import run_backtest as again\n",
        "from research.backtest.engine import CompiledRun\n",
        "from research.backtest import engine\nengine.compiled_loop(1)\n",
        "def late():\n    from research.sweep.run import sweep\n",
        "import research.sweep.run\nresearch.sweep.run.trace(1)\n",
        "import research.backtest.run as engine\nengine.run_backtest(1)\n",
        "from research.backtest import account\naccount.bundle_account(1)\n",
        "from research.backtest import run as r\nr.run_backtest(1)\n",
        "import research\nresearch.run_backtest(1)\n",
        "from research import run_backtest\n",
        "from importlib import import_module\nimport_module('research.sweep.run')\n",
        "from lockstep.strategy.backtrader.cerebro import build_cerebro\n",
        "from research.experiments.accounts import backtrader_course\n",
    ],
)
def test_a_planted_route_is_found(code: str) -> None:
    assert list(routes({"research/planted.py": ast.parse(code)})) == ["research/planted.py"]


@pytest.mark.parametrize(
    "code",
    [
        "from research.sweep.run import SweepResult\n",
        "if TYPE_CHECKING:\n    from research.backtest.run import run_backtest\n",
        "from lockstep import sweep\n",
        "trace = 1\nother.trace(trace)\n",
    ],
)
def test_what_runs_nothing_is_no_route(code: str) -> None:
    assert routes({"research/planted.py": ast.parse(code)}) == {}
