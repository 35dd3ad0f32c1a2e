"""The parts of an experiment's page that are text and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from research.experiments.analysis import Judgement
from research.experiments.selection import Ranked
from research.experiments.sensitivity import Neighbourhood
from research.experiments.store import Record
from research.experiments.variants import spelled
from research.report.numbers import UNDEFINED, count, percent, ratio, usd
from research.report.page import escaped, table


def header(record: Record, found: Judgement) -> str:
    """Return name, ranges and the verdict in a word."""
    plan = record.plan
    how = f"{len(plan.windows)} windows of {plan.walk_forward}" if plan.walk_forward else "one split"
    proof = "passed the gate" if found.verdict.passed else "refused by the gate"
    return (
        f"<header><h1>{escaped(record.name)}<small>experiment {record.id}, {record.kind} search</small></h1>"
        f'<p class="facts"><b>{escaped(", ".join(plan.symbols))}</b><span>train {plan.split.train}</span>'
        f"<span>test {plan.split.validation}</span><span>{escaped(how)}</span>"
        f"<span>{escaped(plan.strategy.timeframe)} bars</span>"
        f'<span class="proxy">Winner {proof}</span></p></header>'
    )


def key_figures(record: Record, found: Judgement) -> str:
    """Return the strip of ten key figures of the winner."""
    train, test, evidence = found.winner.train, found.winner.test, found.evidence
    tiles = [
        ("Test Sharpe", ratio(test["sharpe"]), f"training {ratio(train['sharpe'])}"),
        ("Test CAGR", percent(test["cagr"]), f"training {percent(train['cagr'])}"),
        ("Test P&L", usd(test["net_profit"]), f"{count(test['trades'])} trades"),
        (
            "Test drawdown",
            percent(test["max_drawdown_fraction"]),
            f"training {percent(train['max_drawdown_fraction'])}",
        ),
        ("Profit factor", ratio(test["profit_factor"]), f"wins {percent(test['win_rate'])}"),
        ("Deflated Sharpe", percent(evidence.dsr), f"needs {percent(record.plan.limits.min_dsr)}"),
        ("PBO", percent(evidence.pbo), f"must be below {percent(record.plan.limits.max_pbo)}"),
        ("Best of noise", ratio(max(each.chance for each in found.symbols)), "annual Sharpe, expected"),
        ("Trials counted", count(evidence.trials), "by the ledger, over these dates"),
        (
            "Independent trials",
            count(max(each.effective.number + each.earlier for each in found.symbols)),
            f"{count(record.runs)} runs here",
        ),
    ]
    cells = "".join(
        f'<div class="kpi"><span>{escaped(name)}</span><b>{escaped(value)}</b>'
        f"<span>{escaped(note)}</span></div>"
        for name, value, note in tiles
    )
    return f'<div class="kpis">{cells}</div>'


def checks(found: Judgement) -> str:
    """Return every check of the gate."""
    rows = [
        (
            f"<b>{escaped(check.name)}</b>: {escaped(check.sentence)}",
            "passed" if check.passed else '<b class="loss">failed</b>',
        )
        for check in found.verdict.checks
    ]
    return f'<div class="scroll">{table(("check", "outcome"), rows)}</div>'


def top_runs(ranked: Sequence[Ranked], by: str) -> str:
    """Return the best variants with their parameters."""
    paths = list(ranked[0].parameters)
    head = (
        "#",
        *map(escaped, paths),
        f"train {by}",
        f"test {by}",
        "trades",
        "P&amp;L",
        "drawdown",
        "PF",
        "wins",
    )
    rows = [
        (
            str(number),
            *(escaped(spelled(value)) for value in each.parameters.values()),
            _measure(by, each.train[by]),
            _measure(by, each.test[by]),
            count(each.test["trades"]),
            usd(each.test["net_profit"]),
            percent(each.test["max_drawdown_fraction"]),
            ratio(each.test["profit_factor"]),
            percent(each.test["win_rate"]),
        )
        for number, each in enumerate(ranked, start=1)
    ]
    return f'<div class="scroll">{table(head, rows)}</div>'


def windows(record: Record, chosen: Sequence[Ranked | None], by: str) -> str:
    """Return what each window of a walk-forward chose, and the mean of what came of it."""
    rows, tests = [], []
    for window, each in zip(record.plan.windows, chosen, strict=True):
        parameters = UNDEFINED if each is None else _spelled_all(each)
        inside, outside = (None, None) if each is None else (each.train[by], each.test[by])
        tests.append(math.nan if outside is None else outside)
        rows.append((f"{window.test}", _measure(by, inside), _measure(by, outside), escaped(parameters)))
    known = [value for value in tests if not math.isnan(value)]
    mean = sum(known) / len(known) if known else None
    foot = (
        "mean",
        "",
        _measure(by, mean),
        f"{sum(value > 0 for value in known)} of {len(tests)} windows above zero",
    )
    return (
        f'<div class="scroll">{table(("test", f"train {by}", f"test {by}", "chosen"), rows, foot=foot)}</div>'
    )


def neighbours(found: Neighbourhood, by: str) -> str:
    """Return the scores around the winner."""
    if not found.rows:
        return '<p class="empty">There is no other run around it.</p>'
    rows = [(escaped(text), _measure(by, train), _measure(by, test)) for text, train, test in found.rows]
    kept = "" if math.isnan(found.kept) else f"{percent(found.kept, 0)} kept"
    foot = (f"mean of {len(rows)}, worst {_measure(by, found.worst)}", kept, _measure(by, found.mean))
    what = "nearest runs" if found.nearest else "change"
    return f'<div class="scroll">{table((what, f"train {by}", f"test {by}"), rows, foot=foot)}</div>'


def provenance(record: Record) -> str:
    """Return the hashes and the ranges."""
    plan = record.plan
    entries = {
        "base strategy": plan.strategy.name,
        "base config hash": record.config_hash,
        "code hash": record.code_hash,
        **{f"data hash {symbol}": each for symbol, each in record.data_hashes.items()},
        "searched": str(plan.split.searched),
        "hold-out": str(plan.split.holdout) if plan.split.holdout else "none",
        "sample": "all combinations" if plan.sample is None else f"{plan.sample} drawn with seed {plan.seed}",
        "selected by": plan.select_by,
        "limits": plan.limits.model_dump_json(),
    }
    rows = [(escaped(name), escaped(value)) for name, value in entries.items()]
    return table(("", ""), rows, classes="provenance")


def _spelled_all(each: Ranked) -> str:
    return ", ".join(f"{path} {spelled(value)}" for path, value in each.parameters.items())


def _measure(name: str, value: float | None) -> str:
    return percent(value) if name == "cagr" else ratio(value)
