"""What takes too long for every change: `make soak`, or `python -m benchmarks.soak NAME [--count N]`.

Each soak has a size, may have a seed, and leaves `benchmarks/results/NAME.json` with both and a hash of the
code that ran: of all that its module imports where it names one, else of what decides. Equal seeds and code
give equal results, times apart. Exit code 1 where something was found.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.agents import gate_on_comp, kills_with_models
from benchmarks.alarms import alarms
from benchmarks.decay import half_lives
from benchmarks.detectors import detectors
from benchmarks.drift import drift
from benchmarks.ic import ic
from benchmarks.long_replay import long_replay
from benchmarks.long_run import engines
from benchmarks.measure import ROOT, of_tests, sources_with_tests
from benchmarks.retraining import comparisons, retraining
from benchmarks.slippage import slippage
from benchmarks.training import stopping
from benchmarks.var_backtests import var_backtests
from benchmarks.zoo import noise, on_comp
from lockstep.identity import DECIDING, VALIDATING, code_hash, hash_of
from research.ledger.database import Database
from research.ledger.ledger import Ledger

RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True, kw_only=True)
class Soak:
    """One soak.

    run      (count, seed) -> what was measured, and whether it is as it should be
    module   of the tests, where all that it imports is what is measured; empty: what decides is
    """

    sentence: str
    count: int
    run: Callable[[int, int], tuple[dict[str, Any], bool]]
    module: str = ""

    @property
    def code(self) -> str:
        """The hash of the code that it runs."""
        return hash_of((self.module,), sources_with_tests()) if self.module else code_hash(DECIDING)


def _replay(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        found = long_replay(count, Path(folder))
    return found, found["growth to the end"] < 0.05


def _simulator(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    block = of_tests("simulation.block")
    tally, days = block.Tally(), 0
    while days < count:
        for outcome in block.block(seed + tally.lives, 200, workers=os.cpu_count() or 1):
            tally.add(outcome)
            if not outcome.holds:
                print(f"seed {outcome.seed}: {outcome.invariant}: {outcome.text}", flush=True)
        days = tally.days
    found = {
        "first seed": seed,
        "lives": tally.lives,
        "desk-days": tally.days,
        "desk-days a minute and core": round(tally.days / tally.seconds * 60.0),
        "broken": {str(each.seed): f"{each.invariant}: {each.text}" for each in tally.broken},
        "counts": dict(sorted(tally.counts.items())),
        "hash": tally.hash,
    }
    return found, not tally.broken


def _bundles(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found = of_tests("support.fuzzing").fuzz(count, seed)
    return found, not found.get("violations") and not found.get("deaths")


def _nights(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        sizes = (str(count), str(count // 5), str(seed))
        command = [sys.executable, "-m", "support.night_kills", folder, *sizes]
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found, not found["different"] and not found["commands left otherwise"]


def _orders(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    storm = of_tests("support.order_storm").storm(seed, count)
    return storm.summary(), not storm.wrong


def _forward(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found, good = of_tests("simulation.rates").soak(count, seed)
    return found, bool(good)


def _night_years(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: tuple[dict[str, Any], bool] = of_tests("simulation.nights").soak(count, seed)
    return found


def _nights_of_a_year(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: tuple[dict[str, Any], bool] = of_tests("simulation.factory_years").soak(count, seed)
    return found


def _maximum(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: tuple[dict[str, Any], bool] = of_tests("simulation.maximum").measured(count, seed)
    return found


def _replays(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found, good = of_tests("simulation.replays").soak(count, seed)
    return found, bool(good)


def _spec_identity(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: tuple[dict[str, Any], bool] = of_tests("support.spec_identity").soak(count, seed)
    return found


def _spec_parity(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: tuple[dict[str, Any], bool] = of_tests("support.spec_live").soak(count, seed)
    return found


def _portfolio_noise(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: tuple[dict[str, Any], bool] = of_tests("support.noise_portfolios").soak(count, seed)
    return found


def _portfolio_parity(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: tuple[dict[str, Any], bool] = of_tests("support.portfolio_parity").soak(count, seed)
    return found


def _regimes(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: tuple[dict[str, Any], bool] = of_tests("support.regime_worlds").soak(count, seed)
    return found


def _ab(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: tuple[dict[str, Any], bool] = of_tests("simulation.ab_worlds").soak(count, seed)
    return found


def _agents(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: tuple[dict[str, Any], bool] = of_tests("simulation.agent_sessions").soak_noise(count, seed)
    return found


def _agents_edges(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: tuple[dict[str, Any], bool] = of_tests("simulation.agent_sessions").soak_edges(count, seed)
    return found


def _small_model(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    found: tuple[dict[str, Any], bool] = of_tests("support.small_model").soak(count, seed)
    return found


def _readme(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-m", "support.readme"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    return {"commands": json.loads(done.stdout or "[]")}, done.returncode == 0


def _examples(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    drawn = ("test_engine_equality", "test_sweep_equality", "test_strategy_families", "test_feature_registry")
    tests = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if path.stem in drawn]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", f"--hypothesis-seed={seed}", *tests]
    environment = {**os.environ, "LOCKSTEP_EXAMPLES": str(count)}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    return {"tests": done.stdout.splitlines()[-1]}, done.returncode == 0


def _sizes(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Reject returns without skill at 5 %; a control that must fail, and tests that must not."""
    sizes = of_tests("support.sizes")
    sample = importlib.import_module("research.statistics.sharpe").SharpeSample
    most = sizes.bound(count)
    best = {
        f"{name}, {periods} periods, {trials} trials, blocks of {block}": sizes.superior_rejections(
            name, count, periods=periods, trials=trials, block=block, seed=seed
        )
        for periods, trials, block in ((500, 50, 10), (500, 100, 20), (1000, 20, 10))
        for name in sizes.TESTS
    }
    ratio = {
        f"{name}, phi {phi}": sizes.sharpe_rejections(measure, count, periods=500, phi=phi, seed=seed)
        for name, measure in (("plain error", sample.of), ("error over blocks", sample.of_blocks))
        for phi in (0.0, 0.3)
    }
    controls = [value for name, value in best.items() if name.startswith("bootstrap deviation")][:2]
    controls.append(ratio["plain error, phi 0.3"])
    tests = [value for name, value in best.items() if not name.startswith("bootstrap deviation")]
    tests += [value for name, value in ratio.items() if name.startswith("error over blocks")]
    good = max(tests) <= most < min(controls)
    return {"bound": most, "best of many": best, "Sharpe ratio": ratio}, good


# Of 200 models without skill at most 5 % may pass; a true 5 % exceeds 21 of 200 in one of a thousand runs.
_MOST_OF_NOISE, _LEAST_OF_SKILL = 21 / 200, 0.8


def _vetoes(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Judge models of each kind in turn; Ctrl-C ends it early, with the rates of those that were judged."""
    worlds = of_tests("support.veto_worlds")
    tallies = {world: worlds.Tally() for world in worlds.WORLDS}
    code = code_hash(VALIDATING)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):
        ledger = Ledger(Database.open(f"sqlite:///{folder}/looks.db"))
        for number in range(count):
            for world, tally in tallies.items():
                tally.add(worlds.case_of(world, seed * 10_000 + number, ledger))
            told = {world: tally.passed for world, tally in tallies.items()}
            print(f"{number + 1} models of each kind, passed: {json.dumps(told)}", flush=True)
    shares = {world: tally.passed / max(1, tally.count) for world, tally in tallies.items()}
    good = shares.pop("planted") >= _LEAST_OF_SKILL and max(shares.values()) <= _MOST_OF_NOISE
    return {"validating code": code, **{world: tally.summary for world, tally in tallies.items()}}, good


SOAKS = {
    "sizes": Soak(
        sentence="tests of the best of many and of an autocorrelated Sharpe ratio on returns without skill, "
        "in searches: 5 % are rejected",
        count=1_000,
        run=_sizes,
    ),
    "simulator": Soak(
        sentence="lives of a desk, in desk-days: every invariant after every step",
        count=1_000_000,
        run=_simulator,
    ),
    "bundles": Soak(sentence="damaged bundles and run folders, in files", count=10_000, run=_bundles),
    "forward": Soak(
        sentence="forward evidence, in years of noise, drift and searches that learn: rates and power",
        count=1_000,
        run=_forward,
    ),
    "nights": Soak(
        sentence="nights that are killed at random writes, and a fifth as many commands at random moments, "
        "then completed: the same but for messages that are told as unknown",
        count=50,
        run=_nights,
        module="support.night_kills",
    ),
    "night_years": Soak(
        sentence="years of 250 nights by the rules of the night: false promotions, planted edges",
        count=1_000,
        run=_night_years,
        module="simulation.nights",
    ),
    "nights_of_a_year": Soak(
        sentence="years of 250 nights of the command, as many fresh as learning, and desks of planted edges: "
        "promotions, and the same decisions as by the rules alone",
        count=2,
        run=_nights_of_a_year,
        module="simulation.factory_years",
    ),
    "orders": Soak(sentence="orders against a broker that fails in every way", count=6_000, run=_orders),
    "null_replay": Soak(
        sentence="searches replayed on moved decisions, in nights of shuffled days: size and power",
        count=60,
        run=_replays,
    ),
    "search": Soak(
        sentence="searches with and without the median rule, in histories: the same choice within its error",
        count=3,
        run=stopping,
    ),
    "vetoes": Soak(
        sentence="models without skill and with it, in models of each kind: how many pass every check",
        count=200,
        run=_vetoes,
    ),
    "maximum": Soak(
        sentence="searches of markets without skill, with drift, with an edge: how often each one passes",
        count=1_000,
        run=_maximum,
    ),
    "spec_identity": Soak(
        sentence="specs in other words and specs that say something else, in pairs: one hash, two hashes",
        count=10_000,
        run=_spec_identity,
    ),
    "spec_parity": Soak(
        sentence="drawn specs in Backtrader, sweep, compiled and live engine: fills, decisions, equity alike",
        count=1_000,
        run=_spec_parity,
    ),
    "portfolio_noise": Soak(
        sentence="portfolios of lanes without skill: how often another method than the simple one is written",
        count=200,
        run=_portfolio_noise,
    ),
    "portfolio_parity": Soak(
        sentence="drawn portfolios in Cerebro, compiled and live engine: fills, answers, states, records",
        count=1_000,
        run=_portfolio_parity,
    ),
    "engines": Soak(
        sentence="one backtest with both engines, in minute bars: the same bytes, and how many times faster",
        count=5_000_000,
        run=engines,
    ),
    "ab": Soak(
        sentence="A/B tests looked at every day, in tests: winners among equal arms, power of better ones",
        count=2_000,
        run=_ab,
        module="simulation.ab_worlds",
    ),
    "agents": Soak(
        sentence="sessions of research agents on noise: how many of them each gate promotes",
        count=1_000,
        run=_agents,
        module="simulation.agent_sessions",
    ),
    "agents_edges": Soak(
        sentence="sessions of research agents on planted edges, in worlds: found, and promoted",
        count=100,
        run=_agents_edges,
        module="simulation.agent_sessions",
    ),
    "agents_gate": Soak(
        sentence="gate of a session of 100 technical strategies on COMP, in replays: what it says, its time",
        count=99,
        run=gate_on_comp,
        module="research.agents.gate",
    ),
    "agents_kills": Soak(
        sentence="sessions that train models, in kills: completed they leave the rows of one nobody killed",
        count=5,
        run=kills_with_models,
        module="research.agents.process",
    ),
    "small_model": Soak(
        sentence="proposals of a small language model: refused or evaluated, never a crash; left out where "
        "it is not installed",
        count=10,
        run=_small_model,
        module="support.small_model",
    ),
    "regimes": Soak(
        sentence="strategies by regime, in worlds: how many equal ones are flagged, how many that fail",
        count=4_000,
        run=_regimes,
    ),
    "var_backtests": Soak(
        sentence="backtests of value at risk, in runs: rejected are 5 % of right ones, and those too low",
        count=2_000,
        run=var_backtests,
    ),
    "alarms": Soak(
        sentence="ALARM and WATCH of streams, healthy and decayed, in years: rates, delays, mistakes",
        count=1_000,
        run=alarms,
    ),
    "ic": Soak(
        sentence="ALARM and WATCH on information coefficients, in years: rates, delays, and no fall",
        count=1_000,
        run=ic,
    ),
    "detectors": Soak(
        sentence="the usual detectors of a lower win rate beside ALARM, in years: false ones, and delays",
        count=1_000,
        run=detectors,
    ),
    "drift": Soak(
        sentence="drift of features, in years without any: how often the warning is false, and what it finds",
        count=300,
        run=drift,
    ),
    "slippage": Soak(
        sentence="ALARM on slippage of fills, in years at the tolerance: rates, delays, two controls",
        count=1_000,
        run=slippage,
    ),
    "shadow_rates": Soak(
        sentence="shadow periods of champion and challenger, looked at daily: how often a verdict errs",
        count=2_000,
        run=comparisons,
    ),
    "retraining": Soak(
        sentence="retrainings with a whole search, from an alarm to the shadow period: how long they take",
        count=1,
        run=retraining,
    ),
    "half_lives": Soak(
        sentence="decay of an edge, in drawn edges of each kind: intervals of half-lives hold the true one",
        count=1_000,
        run=half_lives,
    ),
    "zoo_noise": Soak(
        sentence="workers of the zoo on noise, in sessions: how many release anything, and by the naive rule",
        count=200,
        run=noise,
        module="research.zoo.worker",
    ),
    "zoo_releases": Soak(
        sentence="workers of the zoo on COMP's volatility, in seeds: releases in 30 steps, hold-out losses",
        count=20,
        run=on_comp,
        module="research.zoo.worker",
    ),
    "examples": Soak(
        sentence="drawn rules in every engine, drawn bars for every feature, in examples of each test",
        count=200,
        run=_examples,
    ),
    "readme": Soak(sentence="README's commands on a fresh machine", count=1, run=_readme),
    "replay": Soak(sentence="a long replay, in bar sets: memory stays flat", count=100_000, run=_replay),
}


def main() -> int:
    """Run one soak, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    sentences = "; ".join(f"{name}: {each.sentence}" for name, each in SOAKS.items())
    parser.add_argument("name", nargs="?", choices=SOAKS, help=sentences.replace("%", "%%"))
    parser.add_argument("--count", type=int, help="size; none: the whole soak")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    good = True
    for name in [asked.name] if asked.name else SOAKS:
        good &= _one(name, asked.count or SOAKS[name].count, asked.seed)
    return 0 if good else 1


def _one(name: str, count: int, seed: int) -> bool:
    print(f"{name}: {count:,}: {SOAKS[name].sentence}", flush=True)
    # Of the code that is about to run: a long soak may outlive a change.
    began, code = time.perf_counter(), SOAKS[name].code
    found, good = SOAKS[name].run(count, seed)
    told = {"soak": name, "count": count, "seed": seed, "code": code, "passed": good, **found}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"{json.dumps(told, indent=1)}\n{time.perf_counter() - began:,.0f} s", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
