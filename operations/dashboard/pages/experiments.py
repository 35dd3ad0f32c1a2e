"""Experiments and candidates: what was tried, what a search found, forward evidence, promotions, looks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from lockstep.errors import LockstepError
from lockstep.models.store import ModelStore
from operations.dashboard.page import DashboardPage, DashboardSources
from operations.dashboard.parts import absent, add_line, element_id, guarded, parts_of, thinned_rows
from research.report import page
from research.report.page import Tile, count, ratio
from research.report.theme import GAIN, MUTED, axis, figure, time_axis, titled

if TYPE_CHECKING:
    from research.ledger.candidates import ForwardCandidate
    from research.ledger.database import Database
    from research.ledger.ledger import Ledger

_NEWEST, _MOST_CANDIDATES, _MOST_CHARTS, _MOST_MONTHS = 20, 40, 12, 36
# Trials that are counted by family: the newest ones.
_MOST_TRIALS = 500_000
_LEAST = 1e-3


def build(sources: DashboardSources, now: int) -> Sequence[Markup]:
    """Return the page's pieces; see `DashboardPage`."""
    from research.ledger.database import Database, default_url

    title = page.header("Experiments and candidates", "What was tried, and what came of it")
    parts: dict[str, list[Markup]] = {}
    try:
        database = Database.reading(sources.ledger or default_url())
    except LockstepError as error:
        parts["Ledger"] = [absent("Ledger", str(error))]
    else:
        made = {
            "Trials": _trials, "Experiments": _experiments, "Candidates": _candidates, "Gates": _verdicts,
            "Hold-outs": _looks,
        }  # fmt: skip
        parts = {name: guarded(name, partial(make, database)) for name, make in made.items()}
    parts["Promotions"] = guarded("Promotions", lambda: _promotions(sources.store))
    return title, *parts_of(parts)


def _rows(database: Database, query: str, **values: Any) -> list[dict[str, Any]]:
    from sqlalchemy import text

    with database.read() as connection:
        return [dict(row._mapping) for row in connection.execute(text(query), values).all()]


def _trials(database: Database) -> Iterator[Markup]:
    total = _rows(database, "SELECT max(id) AS total FROM ledger")[0]["total"]
    if not total:
        yield absent("Trials", "No trial was counted yet: the ledger is empty.")
        return
    rows = _rows(
        database,
        "SELECT family, kind, count(*) AS trials, max(recorded) AS newest,"
        " sum(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) AS failed"
        " FROM (SELECT * FROM ledger WHERE id > :after) AS recent"
        " GROUP BY family, kind ORDER BY family, kind",
        after=total - _MOST_TRIALS,
    )
    families: dict[str, int] = {}
    for row in rows:
        families[row["family"]] = families.get(row["family"], 0) + row["trials"]
    shown = sorted(families.items(), key=lambda each: -each[1])[:4]
    tiles = [Tile("Trials", count(total), "counted, and never forgotten")]
    tiles += [Tile(f"Family {name}", count(many), "trials") for name, many in shown]
    yield page.card("Counted", page.key_figures(tiles), classes="wide")
    cut = f" Of the newest {count(_MOST_TRIALS)} trials." if total > _MOST_TRIALS else ""
    yield page.card(
        "Trials by family",
        page.table(
            ("family", "who tried", "trials", "failed", "newest"),
            [
                (
                    row["family"],
                    row["kind"],
                    count(row["trials"]),
                    count(row["failed"]),
                    _minute(row["newest"]),
                )
                for row in rows
            ],
        ),
        caption="One configuration on one instrument over one range of history is a trial, a failure too; "
        f"families of one market are judged together.{cut}",
        classes="wide",
    )


def _experiments(database: Database) -> Iterator[Markup]:
    rows = _rows(
        database,
        "SELECT id, name, kind, status, runs, started, seconds FROM experiment"
        " ORDER BY id DESC LIMIT :newest",
        newest=_NEWEST,
    )
    if not rows:
        yield absent("Experiments", "No experiment yet.")
        return
    maxima = _by_experiment(database, "max(best) AS best, sum(survivors) AS survivors", "maximum", rows)
    replays = _by_experiment(database, "min(p_value) AS p_value", "replay", rows)
    header = (
        "experiment", "kind", "status", "runs", "started, UTC", "seconds", "best z", "survivors", "replay, p",
    )  # fmt: skip
    cells = [
        (
            f"{row['id']} {row['name']}", row["kind"], row["status"], count(row["runs"]),
            _minute(row["started"]),
            ratio(row["seconds"], 1), ratio(maxima.get(row["id"], {}).get("best")),
            count(maxima.get(row["id"], {}).get("survivors")),
            ratio(replays.get(row["id"], {}).get("p_value"), 3),
        )
        for row in rows
    ]  # fmt: skip
    yield page.card(
        "Newest experiments",
        page.table(header, cells),
        caption=f"The newest {_NEWEST}. Survivors pass the test against the maximum of all trials at 5 %, "
        "step by step; a replay is of the whole search on shifted decisions.",
        classes="wide",
    )


def _by_experiment(
    database: Database, measures: str, table: str, rows: Sequence[Mapping[str, Any]]
) -> dict[int, dict[str, Any]]:
    oldest = min(row["id"] for row in rows)
    query = (
        f"SELECT experiment_id, {measures} FROM {table} WHERE experiment_id >= :oldest GROUP BY experiment_id"
    )
    return {row["experiment_id"]: row for row in _rows(database, query, oldest=oldest)}


def _candidates(database: Database) -> Iterator[Markup]:
    from research.ledger.candidates import FULL_SIZE, PILOTED, candidates, sessions_of
    from research.ledger.ledger import Ledger

    ledger = Ledger(database)
    found = candidates(ledger)[-_MOST_CANDIDATES:][::-1]
    if not found:
        yield absent("Candidates", "No candidate is registered: `lockstep candidates register` makes one.")
        return
    rows: list[tuple[str, ...]] = []
    charts: list[Markup] = []
    for each in found:
        dates, residuals = sessions_of(ledger, each)
        path = each.evidence(residuals)
        evidence = float(path[-1]) if path.size else each.e_history
        pilot, full = each.threshold(PILOTED), each.threshold(FULL_SIZE)
        rows.append((
            each.name, each.symbol, each.kind, each.recorded[:10], each.searched, count(each.trials),
            count(residuals.size), ratio(evidence), f"{ratio(pilot)}, {ratio(full)}",
            page.prose("; ".join((each.status, *(event.reason for event in each.events[-1:])))),
            page.prose(_regimes(each)),
        ))  # fmt: skip
        if path.size and len(charts) < _MOST_CHARTS:
            charts.append(_evidence(each, dates.astype(str).tolist(), path, pilot, full))
    header = (
        "candidate", "symbol", "kind", "registered", "search", "trials", "sessions", "evidence",
        "needed: pilot, full", page.prose("what became of it"), page.prose("its history fails in"),
    )  # fmt: skip
    yield page.card(
        "Candidates",
        page.table(header, rows),
        caption="Evidence is that of history times that of sessions which began after the registration. A "
        "history fails in a market regime where its trades lose and are significantly worse than its others.",
        classes="wide",
    )
    yield from charts
    yield from _months(ledger, {each.name for each in found})


def _regimes(each: ForwardCandidate) -> str:
    from research.statistics.regimes import failing_regimes

    if each.regimes is None:
        return page.UNDEFINED
    return ", ".join(failing_regimes(each.regimes)) or "none that can be judged"


def _months(ledger: Ledger, names: Set[str]) -> Iterator[Markup]:
    """Yield the newest months of the candidates since their registration, the newest first."""
    from research.ledger.performance import read

    rows = [each for each in read(ledger, mode="shadow", period="month") if each.subject.name in names]
    if not rows:
        return
    newest = sorted(rows, key=lambda each: (each.first_date, each.subject.name), reverse=True)[:_MOST_MONTHS]
    header = (
        "month", "candidate", "symbol", "sessions", "trades", "P&L", "result", "Sharpe", "drawdown",
        "winning",
    )  # fmt: skip
    cells = [
        (
            f"{each.first_date:%Y-%m}", each.subject.name, each.subject.symbol, count(each.sessions),
            count(each.trades), page.coloured(page.usd(each.pnl)), page.percent(each.result, 2),
            ratio(each.sharpe), page.percent(each.drawdown, 2), page.percent(each.win_rate),
        )
        for each in newest
    ]  # fmt: skip
    yield page.card(
        "Candidates by month",
        page.table(header, cells),
        caption=f"The newest {_MOST_MONTHS} complete months in shadow, as they were first written down.",
        classes="wide",
    )


def _evidence(each: ForwardCandidate, days: Sequence[str], path: Any, pilot: float, full: float) -> Markup:
    rows = [{"day": day, "evidence": value} for day, value in zip(days, path.tolist(), strict=True)]
    shown = thinned_rows(rows, "evidence")
    at = [row["day"] for row in shown]
    drawn = figure(260, xaxis=time_axis(), hovermode="x unified")
    values = np.maximum([row["evidence"] for row in shown], _LEAST)
    add_line(drawn, at, values.tolist(), "evidence", GAIN, "%{y:.2f}")
    for name, value, dash in (("pilot", pilot, "dot"), ("full size", full, "dashdot")):
        add_line(
            drawn,
            [at[0], at[-1]],
            [value] * 2,
            f"{name} at {value:.3g}",
            MUTED,
            "%{y:.2f}",
            dash=dash,
            width=1,
        )
    drawn.update_layout(showlegend=True, yaxis=axis(type="log", dtick=1, title=titled("Evidence")))
    return page.card(
        each.name,
        page.figure_block(element_id("candidate", str(each.id)), drawn),
        caption=f"Forward evidence of {each.symbol} after each session, on a logarithmic axis.",
    )


def _verdicts(database: Database) -> Iterator[Markup]:
    rows = _rows(
        database, "SELECT * FROM verdict WHERE kind <> 'guard' ORDER BY id DESC LIMIT :newest", newest=_NEWEST
    )
    if not rows:
        yield absent("Gates", "No promotion was judged yet.")
        return
    cells = [
        (
            row["subject"][:40], page.failed(row["kind"]) if row["kind"] == "refused" else row["kind"],
            _minute(row["recorded"]), _experiment(row["experiment_id"]),
            page.prose("; ".join(json.loads(row["refusals"])) or "passed"),
            page.prose(row["reason"] or "none given"),
            page.prose(_limits(json.loads(row["limits"]))),
        )
        for row in rows
    ]  # fmt: skip
    words = (page.prose(each) for each in ("objections", "reason", "limits"))
    yield page.card(
        "Judged promotions",
        page.table(("subject", "verdict", "when, UTC", "experiment", *words), cells),
        caption=f"The newest {_NEWEST}.",
        classes="wide",
    )


def _limits(limits: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in sorted(limits.items()))


def _minute(text: str) -> str:
    return text[:16].replace("T", " ")


def _experiment(number: int | None) -> str:
    return page.UNDEFINED if number is None else str(number)


def _looks(database: Database) -> Iterator[Markup]:
    rows = _rows(database, "SELECT * FROM look ORDER BY id DESC LIMIT :newest", newest=_NEWEST)
    if not rows:
        yield absent("Looks", "No hold-out was ever opened.")
        return
    cells = [
        (
            row["family"], row["symbol"], f"{row['first_date']} to {row['last_date']}",
            _experiment(row["experiment_id"]), _minute(row["recorded"]), page.prose(row["purpose"]),
        )
        for row in rows
    ]  # fmt: skip
    header = ("family", "symbol", "days", "experiment", "when, UTC", page.prose("for"))
    yield page.card(
        "Looks at hold-outs",
        page.table(header, cells),
        caption=f"The newest {_NEWEST}; each makes the next one harder to pass.",
        classes="wide",
    )


def _promotions(store: ModelStore) -> Iterator[Markup]:
    history = [each for each in store.manifest().history if each.before != each.after][-_NEWEST:]
    if not history:
        yield absent("Promotions", "No version was ever put into production.")
        return
    cells = [
        (
            f"{each.time:%Y-%m-%d %H:%M}", each.symbol, each.action, each.before or page.UNDEFINED,
            each.after or page.UNDEFINED, each.by, page.prose(each.reason or "none given"),
            page.prose("; ".join(each.overruled) or "nothing"),
        )
        for each in reversed(history)
    ]  # fmt: skip
    words = (page.prose(each) for each in ("reason", "overruled by --force"))
    yield page.card(
        "Production",
        page.table(("when, UTC", "symbol", "action", "from", "to", "by", *words), cells),
        caption=f"The newest {_NEWEST} changes of what is in production, from the manifest.",
        classes="wide",
    )


PAGE = DashboardPage(name="experiments", title="Experiments and candidates", build=build)
