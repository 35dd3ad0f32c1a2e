"""A spec through the live engine, and what a certificate compares: research with the sweep and with live."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from certify.certificate import Part
from certify.live_run import LiveRun
from certify.run import LIVE, RESEARCH, SWEEP
from certify.series import Arrived, labels_of, with_settled
from certify.sweep_side import compare_with_sweep
from lockstep.errors import LockstepError
from lockstep.features.feature_registry import default_registry
from lockstep.floats import EXACT
from lockstep.live.messages import SetRecord
from lockstep.live.traded import TradedModel
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.models.bundle import Bundle
from lockstep.monitoring.parity import compare
from lockstep.strategy.families.rules import RulesConfig
from research.backtest.result import BacktestResult, steps_of
from research.backtest.run import run_backtest
from support import desks
from support.spec_parity import BEHIND_A_MODEL, Seen
from support.specs import WORLDS, World, drawn

# Bars of each spec of a soak.
SOAKED = 1_000


def traded(config: RulesConfig, world: World, *, model: bool = False) -> TradedModel:
    """Return a spec as the desk trades it, with a small forest as its veto or alone."""
    forest = desks.bundle() if model else None
    ids = config.feature_ids if forest is None else forest.feature_ids
    registry = default_registry()
    return TradedModel.of(
        Bundle(
            symbol=world.symbol,
            target="" if forest is None else forest.target,
            pipeline=None if forest is None else forest.pipeline,
            feature_ids=ids,
            fingerprints={each: registry.fingerprint(each) for each in ids},
            strategy={
                "family": config.family,
                "config": config.model_dump(mode="json"),
                "config_hash": config.config_hash,
            },
            threshold=None if forest is None else 0.45,
            training={},
            metrics={},
            golden=desks.bundle().golden,
            sha256=f"{world.symbol}-{config.config_hash}",
            version="v1",
        )
    )


@dataclass(frozen=True, kw_only=True)
class Lived:
    """A spec in Backtrader, and in a live engine that was stopped and started again on its journal."""

    model: TradedModel
    history: History
    span: DateRange
    research: BacktestResult
    run: LiveRun

    @classmethod
    def of(cls, model: TradedModel, world: World, bars: int, folder: Path) -> Lived:
        """Trade the last `bars` bars of a world in both; all that came before fills the windows."""
        ends = world.history.series(model.key).end[-bars:]
        market = world.history.markets[world.symbol]
        dates = market.session.dates(ends, model.key.timeframe)
        span = DateRange.of(str(dates[0]), str(dates[-1]))
        read = {key: world.history.series(key) for key in model.needs(world.history.markets)}
        history = replace(world.history, bars=read)
        research = run_backtest(model.config, history, world.symbol, span=span, veto=model.veto, verify=True)
        sets, warmup = live_sets(model, history, int(research.bars.end[0]), folder)
        run = LiveRun(sets=tuple(sets), warmup=warmup, killed_after=(len(sets) // 3,), modes=(EXACT, EXACT))
        return cls(model=model, history=history, span=span, research=research, run=run)

    def parts(self) -> tuple[Part, Part]:
        """Return what a certificate of it says: research beside the sweep, and beside the live engine."""
        config, plan, history = self.model.config, self.model.plan, self.history
        swept = compare_with_sweep(
            self.research, config, history, self.research.symbol, span=self.span, veto=self.model.veto
        )
        arrived = Arrived(labels_of(plan, history.markets), self.model.key, self.run.warmup)
        steps = self.run.steps(self.research.symbol, config.timeframe, arrived)
        lived = compare(with_settled(steps_of(self.research), steps, history, plan), steps, plan.ids)
        return Part.of((RESEARCH, SWEEP), swept), Part.of((RESEARCH, LIVE), lived)


def live_sets(
    model: TradedModel, history: History, first: int, folder: Path
) -> tuple[Sequence[SetRecord], Mapping[SeriesKey, tuple[tuple[int, tuple[float, ...]], ...]]]:
    """Return what the live engine journals of the bars from `first` on, and what filled its windows.

    It is stopped after a third of them; another one goes on with the journal of the first.
    """
    warmup = {key: tuple(row for row in desks.kept(history, key) if row[0] < first) for key in history.bars}
    epoch = replace(desks.first_epoch({model.bundle.symbol: model}, history, 0), warmup=warmup)
    journal = desks.MemoryJournal()
    bars = int(np.sum(history.series(model.key).end >= first))
    for stop in (bars // 3, None):
        desks.engine(
            folder, {model.bundle.symbol: model}, journal, history, epoch=epoch, memory=5_000,
            **({} if stop is None else {"stop_after": stop}),
        ).run()  # fmt: skip
    return journal.sets, warmup


def soak(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Hold so many drawn specs, in all worlds in turn, against every engine; Ctrl-C ends it early.

    Backtrader, sweep, compiled engine, and a live engine that is stopped and started again: all that a
    certificate compares, bit for bit.
    """
    seen, done, faults, fills = Seen(), Counter[str](), list[str](), 0
    began = time.process_time()
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            name = tuple(WORLDS)[number % len(WORLDS)]
            world = WORLDS[name](SOAKED)
            # Fills at the close are research's alone: the live engine refuses them.
            config = drawn(world, np.random.default_rng((seed, number))).replaced(execution="next_open")
            model = number // len(WORLDS) % BEHIND_A_MODEL == 0
            try:
                found = Lived.of(traded(config, world, model=model), world, SOAKED, Path(folder))
                parts = found.parts()
            except LockstepError as error:
                faults.append(f"{name} {number}: {error}")
                continue
            faults += [
                f"{name} {number}: {' and '.join(each.between)}: {each.first}"
                for each in parts
                if each.different
            ]
            fills += sum(each.fills for each in parts[1:])
            seen.add(config, found.research)
            done[name] += 1
            if number % 20 == 19:
                print(f"{number + 1} specs, {len(faults)} differ", flush=True)
    told = {
        "specs": sum(done.values()),
        "by world": dict(done),
        "bars each": SOAKED,
        "fills compared": fills,
        "CPU seconds": round(time.process_time() - began),
        "said": dict(sorted(seen.said.items())),
        "met": dict(sorted(seen.met.items())),
        "differ": faults,
    }
    return told, not faults and sum(done.values()) == count
