"""The parts of an experiment's page that are text and tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from research.experiments.accounts import SymbolAccount
from research.experiments.analysis import Judgement
from research.experiments.declaration import how_it_learns, weakest
from research.experiments.diagnostics import SearchOpinion
from research.experiments.plan import Plan
from research.experiments.selection import Ranked
from research.experiments.sensitivity import Neighbourhood
from research.experiments.store import Record
from research.experiments.tables import averaged
from research.experiments.variants import spelled
from research.experiments.why import SEARCH_HEAD, search_row
from research.report import page
from research.report.page import (
    UNDEFINED,
    Tile,
    count,
    failed,
    joined,
    percent,
    prose,
    ratio,
    strong,
    table,
    usd,
)
from research.statistics.verdict import VerdictLine


def header(record: Record, found: Judgement, verdict: VerdictLine) -> Markup:
    """Return name, ranges and the verdict: a word and a reason."""
    plan = record.plan
    how = f"{len(plan.windows)} windows of {plan.walk_forward}" if plan.walk_forward else "one split"
    dates = dict.fromkeys(each.dates for each in found.winner.accounts.values())
    tested = "; ".join(dates) or str(plan.split.validation)
    return page.header(
        record.name,
        f"experiment {record.id}, {record.kind} search",
        (
            f"train {plan.windows[0].train.start} to {plan.windows[-1].train.end}",
            f"test {tested}",
            how,
            f"{plan.strategy.timeframe} bars",
        ),
        lead=", ".join(plan.symbols),
        verdict=str(verdict),
        is_loss=verdict.is_loss,
    )


def key_figures(record: Record, found: Judgement) -> Markup:
    """Return the strip of ten key figures of the winner."""
    winner, evidence = found.winner, found.evidence
    train = winner.train
    means = averaged(record)
    one = "training" if not means else "mean training"
    several = f", mean of {len(winner.accounts)} symbols" if len(winner.accounts) > 1 else ""
    tiles = [
        ("Test Sharpe", ratio(winner.figure("sharpe")), f"{one} {ratio(train['sharpe'])}{several}"),
        ("Test CAGR", percent(winner.figure("cagr")), f"{one} {percent(train['cagr'])}{several}"),
        ("Test P&L", usd(winner.figure("net_profit")), f"{count(winner.figure('trades'))} trades{several}"),
        (
            "Test drawdown",
            percent(winner.figure("max_drawdown_fraction")),
            f"{one} {percent(train['max_drawdown_fraction'])}{several}",
        ),
        (
            "Profit factor",
            ratio(winner.figure("profit_factor")),
            f"wins {percent(winner.figure('win_rate'))}{several}",
        ),
        ("p-value", percent(evidence.p_value), f"must be {percent(record.plan.limits.size)} at most"),
        (
            "Timing Sharpe",
            ratio(min(each.timing_sharpe for each in found.symbols)),
            "without its mean position",
        ),
        ("PBO", percent(evidence.pbo), f"must be below {percent(record.plan.limits.max_pbo)}"),
        (
            "Best of noise",
            ratio(max(each.maximum.chance for each in found.symbols)),
            "expected timing Sharpe",
        ),
        (
            "Trials counted",
            count(evidence.trials),
            f"as good as {count(max(each.maximum.effective for each in found.symbols))} independent ones",
        ),
    ]
    return page.key_figures(Tile(*tile) for tile in tiles)


def checks(found: Judgement) -> Markup:
    """Return every check of the gate."""
    rows = [
        (
            # Wrapped, so that no sentence pushes its outcome off the page.
            prose(joined(strong(check.name), f": {check.sentence}")),
            ("passed" if check.passed else failed("failed")) if check.applies else "does not apply",
        )
        for check in found.verdict.checks
    ]
    return table(("check", "outcome"), rows)


def best_against_market(record: Record, found: SearchOpinion) -> Markup:
    """Return the p-values of the best after all trials, a row each."""
    rows = []
    for place, each in enumerate(found.best):
        values = json.loads(record.plan.space.variant(each.variant).parameters)
        named = ", ".join(f"{path} {spelled(value)}" for path, value in values.items())
        rows.append((str(place + 1), prose(named), *search_row(found, place)))
    return table(("#", prose("parameters"), *SEARCH_HEAD), rows)


def top_runs(record: Record, ranked: Sequence[Ranked], by: str) -> Markup:
    """Return the best variants with their parameters and their test accounts, one row per symbol."""
    paths, symbols, means = list(ranked[0].parameters), record.plan.symbols, averaged(record)
    scores = [f"mean train {by}", f"mean test {by}"] if means else [f"train {by}"]
    head = ["#", *paths, *scores, *(["account"] if len(symbols) > 1 else [])]
    head += [by if means else f"test {by}", "trades", "P&L", "drawdown", "PF", "wins"]
    rows = []
    for number, each in enumerate(ranked, start=1):
        named = [spelled(value) for value in each.parameters.values()]
        named += [_measure(by, each.train[by]), *([_measure(by, each.test[by])] if means else [])]
        for line, symbol in enumerate(symbols):
            place = f"{number}, {each.repeats}" if each.repeats else str(number)
            first = ["", *("" for _ in named)] if line else [place, *named]
            own = [symbol] if len(symbols) > 1 else []
            rows.append((*first, *own, *_figures(by, each.accounts.get(symbol))))
    return table(head, rows)


def _figures(by: str, account: SymbolAccount | None) -> list[str]:
    if account is None:
        return [UNDEFINED] * 6
    found = account.metrics
    return [
        _measure(by, found[by]),
        count(found["trades"]),
        usd(found["net_profit"]),
        percent(found["max_drawdown_fraction"]),
        ratio(found["profit_factor"]),
        percent(found["win_rate"]),
    ]


def by_symbol(found: Judgement, train: Mapping[str, SymbolAccount]) -> Markup:
    """Return the winner's accounts and the evidence, a row per symbol and part."""
    head = ("symbol", "dates", "Sharpe", "CAGR", "trades", "P&L", "drawdown", "PF", "wins", "held")
    rows = []
    parts = [("train", train), ("test", found.winner.accounts), ("own choice", found.walk_forward)]
    for symbol in (each.symbol for each in found.symbols):
        for part, accounts in parts:
            if symbol in accounts:
                account = accounts[symbol]
                measures = account.metrics
                figures = _figures("sharpe", account)
                rows.append(
                    (
                        f"{symbol}, {part}",
                        account.dates,
                        figures[0],
                        percent(measures["cagr"]),
                        *figures[1:],
                        percent(measures["exposure"]),
                    )
                )
    return table(head, rows)


def windows(record: Record, chosen: Sequence[Ranked | None], found: Judgement, by: str) -> Markup:
    """Return what each window of a walk-forward chose and did, and the one account of all of them."""
    rows, scores = [], []
    for window, each in zip(record.plan.windows, chosen, strict=True):
        parameters = UNDEFINED if each is None else _spelled_all(each)
        train, test = (each.train, each.test) if each is not None else ({}, {})
        scores.append(test.get(by))
        rows.append(
            (
                f"{window.train}",
                f"{window.test}",
                _measure(by, train.get(by)),
                _measure(by, test.get(by)),
                count(test.get("trades")),
                usd(test.get("net_profit")),
                parameters,
            )
        )
    for symbol, account in found.walk_forward.items():
        measures = account.metrics
        rows.append(
            (
                strong(f"one account, {symbol}"),
                strong(account.dates),
                "",
                strong(_measure(by, measures[by])),
                strong(count(measures["trades"])),
                strong(usd(measures["net_profit"])),
                f"drawdown {percent(measures['max_drawdown_fraction'])}, profit factor "
                f"{ratio(measures['profit_factor'])}",
            )
        )
    known = [value for value in scores if value is not None]
    mean = sum(known) / len(known) if known else None
    above = f"{sum(value > 0 for value in known)} of {len(scores)} windows above zero"
    foot = ("mean of the windows", "", "", _measure(by, mean), "", "", above)
    head = ("train", "test", f"train {by}", f"test {by}", "trades", "P&L", "chosen")
    return table(head, rows, foot=foot)


def neighbours(found: Neighbourhood, by: str) -> Markup:
    """Return the scores around the winner."""
    if not found.rows:
        return page.empty_block("No other run is around it.")
    rows = [(text, _measure(by, train), _measure(by, test)) for text, train, test in found.rows]
    kept = "" if math.isnan(found.kept) else f"{percent(found.kept, 0)} kept"
    foot = (f"mean of {len(rows)}, worst {_measure(by, found.worst)}", kept, _measure(by, found.mean))
    what = "nearest runs" if found.nearest else "change"
    return table((what, f"train {by}", f"test {by}"), rows, foot=foot)


def provenance(record: Record, found: Judgement) -> Markup:
    """Return the hashes, the ranges, and how the search came to its trials."""
    plan, derived = record.plan, weakest({each.symbol: each.searched for each in found.symbols})
    entries = {
        "base strategy": plan.strategy.name,
        "base config hash": record.config_hash,
        "code hash": record.code_hash,
        **{f"data hash {symbol}": each for symbol, each in record.data_hashes.items()},
        "searched": str(plan.split.searched),
        "hold-out": str(plan.split.holdout) if plan.split.holdout else "none",
        "declared or adaptive": f"{derived.kind}: {derived.reason}",
        "sample": _sample(plan),
        "selected by": plan.select_by,
        "limits": plan.limits.model_dump_json(),
    }
    return page.provenance(entries)


def _sample(plan: Plan) -> str:
    if plan.generations is not None:
        return how_it_learns(plan)
    return "all combinations" if plan.sample is None else f"{plan.sample} drawn with seed {plan.seed}"


def _spelled_all(each: Ranked) -> str:
    return ", ".join(f"{path} {spelled(value)}" for path, value in each.parameters.items())


def _measure(name: str, value: float | None) -> str:
    return percent(value) if name == "cagr" else ratio(value)
