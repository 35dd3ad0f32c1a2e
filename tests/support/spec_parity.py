"""One spec in several engines: where they part, and what the specs and their runs had in them.

What specs are drawn from and what happens to them is counted, so that a generator that no longer draws
something, or a world in which something no longer happens, is a failure and not a silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lockstep.strategy.decision import COLUMN_CODES, FILTERED, NAMES
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.veto import Veto
from research.backtest.result import BacktestResult
from research.backtest.run import run_backtest
from research.sweep.inputs import Chances
from research.sweep.run import sweep, trace
from support.specs import World

# Every so many specs are traded behind a model, too.
BEHIND_A_MODEL = 5


class Logistic:
    """A smooth function of two columns, the same for one row and for many."""

    def predict_proba(self, features: Any, /) -> Any:
        chance = 1.0 / (1.0 + np.exp(features[:, 0] - 4.0 * features[:, 1]))
        return np.column_stack((1.0 - chance, chance))


class Different:
    """A model whose answer to a row depends on how many it is shown: what BLAS does to the last bits."""

    def predict_proba(self, features: Any, /) -> Any:
        chance = Logistic().predict_proba(features)[:, 1] * (1.0 if len(features) == 1 else 0.9)
        return np.column_stack((1.0 - chance, chance))


MODEL = Veto(model=Logistic(), feature_ids=("zscore_20", "ibs"), threshold=0.55)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What specs said and what their runs met: how many had each thing in them, by name."""

    said: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)

    def add(self, config: RulesConfig, result: BacktestResult) -> None:
        self.said.update(set(said(config)))
        self.met.update(set(met(result)))


def said(config: RulesConfig) -> Iterator[str]:
    """Yield what a spec says: operators, modifiers of ids, and whatever it has beside its conditions."""
    content = config.model_dump(mode="json")
    for side in ("long", "short"):
        for part in ("entry", "exit"):
            if content[f"{side}_{part}"] is not None:
                yield f"{side} {part}"
                yield from _in_tree(content[f"{side}_{part}"])
    for each in (*config.feature_ids, *(each.id for each in config.score)):
        yield from (mark for mark in ("~", "%", "@", "*") if mark in each)
    yield from ("negative weight" for each in config.score if each.weight < 0)
    for name in ("stop", "target"):
        if content[name] is not None:
            yield f"{name} in {'percent' if content[name].get('percent') else 'atr'}"
    yield from (f"filter of {each['side']}" for each in content["filters"])
    yield f"size {content['size']['kind']}"
    if "by_regime" in content["size"]:
        yield "size by regime"
    yield f"fills at the {content['execution']}"
    yield from (name for name in ("max_bars", "veto", "features", "window", "auto_close") if content[name])


def _in_tree(tree: dict[str, Any]) -> Iterator[str]:
    for name in ("all", "any"):
        if name in tree:
            yield name
            for each in tree[name]:
                yield from _in_tree(each)
    if "not" in tree:
        yield "not"
        yield from _in_tree(tree["not"])
    if "id" in tree:
        ((relation, other),) = ((name, value) for name, value in tree.items() if name != "id")
        yield f"score {relation}" if tree["id"] == "score" else relation
        if isinstance(other, str):
            yield f"{relation} another id"


def met(result: BacktestResult) -> Iterator[str]:
    """Yield what happened in a run: every kind of decision, and every reason of a fill."""
    for code in set(result.records.codes.tolist()):
        yield NAMES[code] if code < COLUMN_CODES else "missing" if code < FILTERED else "filtered"
    yield from (f"filled: {each.reason}" for each in result.records.orders if each.status == "completed")


def parted(configs: Sequence[RulesConfig], world: World, seen: Seen | None = None) -> list[str]:
    """Return the specs for which sweep and Backtrader part, each with what differs; none of those that agree.

    Fills, and equity at every bar, bit for bit; one sweep of all gives the net profits. Every few specs are
    traded behind a model, with its answers.
    """
    profits = sweep(configs, world.history, world.symbol, span=world.span, jobs=1).metrics["net_profit"]
    found = []
    for number, (config, profit) in enumerate(zip(configs, profits.tolist(), strict=True)):
        veto = None if number % BEHIND_A_MODEL else MODEL
        result = run_backtest(config, world.history, world.symbol, span=world.span, veto=veto)
        where = difference(result, config, world, veto)
        plain = trace(config, world.history, world.symbol, span=world.span)
        if profit != plain.equity[-1] - config.capital:
            where = where or "net profit"
        if where:
            found.append(f"{config.to_yaml()}{where}")
        if seen is not None:
            seen.add(config, result)
    return found


def difference(result: BacktestResult, config: RulesConfig, world: World, veto: Veto | None = None) -> str:
    """Return in what the sweep parts from a run in Backtrader: fills, equity, or nothing."""
    history, symbol = world.history, world.symbol
    chances = None if veto is None else Chances.of(veto, config, history, symbol)
    traced = trace(config, history, symbol, span=world.span, chances=chances)
    row = {int(end): number for number, end in enumerate(result.bars.end)}
    filled = [
        (row[order.stamp], order.quantity, order.price)
        for order in result.records.orders
        if order.status == "completed"
    ]
    if [(int(bar), quantity, price) for bar, _, quantity, price, *_ in traced.fills] != filled:
        return "fills"
    return "" if traced.equity.tobytes() == result.equity["equity"].to_numpy().tobytes() else "equity"
