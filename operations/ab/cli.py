"""`lockstep ab create|status|evaluate|stop`: two strategies side by side, judged by paired sessions."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from lockstep.market.command_line import App, DataDir, SourceName
from lockstep.models.command_line import Store
from lockstep.tables import TextTable, prose

if TYPE_CHECKING:
    from operations.ab.book import AbTest
    from operations.ab.tester import AbProgress, AbStanding
    from research.ledger.ledger import Ledger

TROUBLE = 1

app = App(no_args_is_help=True, help="Two strategies side by side, judged by their paired sessions.")

TestName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the test.")]
JournalFile = Annotated[
    Path | None, typer.Option("--journal", help="Journal of the live engine: its bars are seen first.")
]
Pages = Annotated[Path | None, typer.Option("--out", help="Folder for the page of each test shown.")]


@app.command()
def create(
    file: Annotated[Path, typer.Argument(help="YAML: name, symbol, champion, challenger, difference.")],
    yes: Annotated[bool, typer.Option("--yes", help="Create it even if it needs more than 3 years.")] = False,
    start: Annotated[str | None, typer.Option(help="First session of the history that is measured.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session of it.")] = None,
    data_dir: DataDir = None,
    source: SourceName = None,
    store: Store = None,
) -> None:
    """Plan a test by the history of both arms, say how long it takes, and write it down.

    Nothing of it can be changed later; only sessions that begin later count. Refused where it needs more
    than three years, unless --yes.
    """
    from lockstep.market.config import load_instruments
    from lockstep.market.dates import DateRange
    from lockstep.market.loader import load_history
    from operations.ab.arms import StrategyCandidate, require_comparable
    from operations.ab.config import AbConfig
    from operations.ab.tester import StrategyABTester

    config = AbConfig.load(file)
    tester = StrategyABTester(ledger=_ledger(), data_dir=data_dir, source=source)
    champion, challenger = (
        StrategyCandidate.named(text, config.symbol, tester.ledger, store)
        for text in (config.champion, config.challenger)
    )
    require_comparable(champion, challenger, config.mode)
    book = load_instruments()
    keys = {*champion.trades.keys(book), *challenger.trades.keys(book)}
    history = load_history(
        config.symbol, data_dir, timeframe=champion.trades.config.bars, context=tuple(sorted(keys)),
        book=book, source=source,
    )  # fmt: skip
    test = tester.create_test(
        config.name, champion, challenger, history, now=_now(), mode=config.mode,
        difference=config.difference, years=config.years, span=DateRange.of(start, end), desk=config.desk,
        challenger_desk=config.challenger_desk, by_receiver=config.by_receiver, insist=yes,
    )  # fmt: skip
    _say([*plan_lines(test), *split_lines(test)])


def plan_lines(test: AbTest) -> list[str]:
    """Return what was decided at the creation of a test, as lines."""
    terms, plan = test.terms, test.terms.plan
    needed = "more than 25" if math.isinf(plan.needed_years) else f"{plan.needed_years:.1f}"
    by_year = ", ".join(f"{share:.0%}" for share in plan.power_by_year[:5])
    return [
        f"{test.name}: {terms.challenger.name} against {terms.champion.name} on {terms.symbol}, {terms.mode}",
        f"  sessions correlate {terms.correlation:.3f}; a difference of {plan.difference:g} in Sharpe ratio "
        f"is {plan.effect:.2f} of the paired difference",
        f"  years needed for a power of 80 %: {needed} looked at every day, {plan.one_look_years:.1f} for a "
        "single look",
        f"  it ends after {plan.sessions:,} sessions ({plan.years:.1f} years) at the latest: power "
        f"{plan.power:.0%}; after 1, 2, … years {by_year}",
        f"  nothing is decided before {plan.least_sessions} sessions and {plan.least_trades} trades of each "
        "arm; `lockstep ab evaluate` counts them",
    ]


def split_lines(test: AbTest) -> list[str]:
    """Return what the desk of a test needs so that its engine splits the signals; nothing in mode replay."""
    from lockstep.live.config import LiveConfig
    from operations.ab.split import lanes_of_arms

    terms = test.terms
    if not terms.desk or terms.by_receiver:
        return []
    arms = {"champion": terms.champion, "challenger": terms.challenger}
    splits = {arm: f"split: {{test: {json.dumps(test.name)}, arm: {arm}}}" for arm in arms}
    traded = {
        arm: lanes_of_arms(
            LiveConfig.load(Path(terms.desk_of(arm))).traded_portfolio(), test.name, terms.symbol
        )
        for arm in arms
    }
    if all(arm in lanes for arm, lanes in traded.items()):
        return [
            f"  signals are split: {lanes[arm]} of {terms.desk_of(arm)} is the {arm}"
            for arm, lanes in traded.items()
        ]
    begin = "then lockstep journal new-epoch --reason TEXT"
    if terms.challenger_desk:
        return [
            f"  the portfolio of {terms.desk_of(arm)} must trade {each.name} in its lane of {terms.symbol} "
            f"with `{splits[arm]}`, {begin}"
            for arm, each in arms.items()
        ]
    return [
        f"  the portfolio of {terms.desk} must trade both arms as members of its lane of {terms.symbol}, "
        f"{begin}:",
        "    members:",
        *(
            f"      - {{name: {arm}, version: {version}, share: 0.5, {splits[arm]}}}"
            for arm, each in arms.items()
            for version in (each.content.get("version", "VERSION"),)
        ),
    ]


@app.command()
def status(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Show its plan, too.")] = "",
    out: Pages = None,
) -> None:
    """Show every test, or one with its plan, by the sessions that are counted so far."""
    from operations.ab.book import ab_test_named, ab_tests
    from operations.ab.page import summary_of
    from operations.ab.tester import standing

    ledger = _ledger()
    tests = [ab_test_named(ledger, name)] if name else ab_tests(ledger)
    if not tests:
        _say(["no A/B test was created yet"])
        return
    found = [standing(ledger, each) for each in tests]
    Console().print(tests_table(found))
    if name:
        _say([*plan_lines(tests[0]), *split_lines(tests[0]), summary_of(found[0]), *_promotion(tests[0])])
    _write_pages(tests, out)


def tests_table(found: Sequence[AbStanding]) -> TextTable:
    """Return one row per test."""
    table = TextTable(
        prose("test"), "since", "sessions", "of", "ahead a year", "at least", "at most", "status"
    )
    for each in found:
        plan, judged, size = each.test.terms.plan, each.judgement, each.differences.size
        scale = each.test.terms.sigma * 252
        numbers = [
            f"{float(values[-1]) * scale:+.1%}" if size and math.isfinite(values[-1]) else "-"
            for values in (judged.mean, judged.low, judged.high)
        ]
        table.add_row(
            f"{each.test.name}: {each.test.terms.symbol}, {each.test.terms.challenger.name} against "
            f"{each.test.terms.champion.name}",
            each.test.recorded[:10], f"{size:,}", f"{plan.sessions:,}", *numbers, each.test.status,
        )  # fmt: skip
    return table


@app.command()
def evaluate(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only this test.")] = "",
    data_dir: DataDir = None,
    source: SourceName = None,
    journal: JournalFile = None,
    out: Pages = None,
) -> None:
    """See new bars, count every complete session once, and end what is decided.

    Exit code 1 where a test could not be evaluated.
    """
    from operations.ab.tester import StrategyABTester, evaluate_all

    ledger, now = _ledger(), _now()
    if name:
        tester = StrategyABTester(ledger=ledger, data_dir=data_dir, source=source, journal=journal)
        done = [tester.evaluate_test(name, now=now)]
    else:
        done = evaluate_all(ledger, now=now, data_dir=data_dir, source=source, journal=journal)
    if not done:
        _say(["no A/B test is running"])
    for each in done:
        _say(_progress_lines(each))
    _write_pages([each.test for each in done if not each.trouble], out)
    if any(each.trouble for each in done):
        raise typer.Exit(TROUBLE)


def _progress_lines(done: AbProgress) -> list[str]:
    if done.trouble:
        return [done.trouble]
    lines = [f"{done.test.name}: {len(done.new)} sessions counted"]
    if done.ending is not None:
        lines.append(f"{done.test.name}: {done.ending.kind} on {done.ending.session}: {done.ending.reason}")
    return [*lines, *_promotion(done.test)]


def _promotion(test: AbTest) -> list[str]:
    """Return how the winner is promoted, and what it lacks; nothing without a winner."""
    from operations.ab.gates import open_gates, promotion_command

    if test.status != "won":
        return []
    gates = open_gates(_ledger(), test, now=_now())
    return [
        f"  to promote the challenger: {promotion_command(test)}",
        *(f"  still open: {each}" for each in gates),
    ]


@app.command()
def stop(name: TestName, reason: Annotated[str, typer.Option(help="Why; recorded.")]) -> None:
    """End a test by hand; what it counted stays."""
    from operations.ab.tester import StrategyABTester

    test = StrategyABTester(ledger=_ledger()).stop_test(name, reason=reason, now=_now())
    _say([f"{test.name}: stopped; its sessions stay"])


def _write_pages(tests: Sequence[AbTest], folder: Path | None) -> None:
    if folder is None:
        return
    from operations.ab.page import write_ab_page

    for each in tests:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", each.name).strip("-.") or f"test-{each.id}"
        path = write_ab_page(_ledger(), each, folder / f"ab-{stem}.html", now=_now())
        _say([f"page: {path}"])


def _ledger() -> Ledger:
    from research.ledger.database import Database
    from research.ledger.ledger import Ledger

    return Ledger(Database.open())


def _now() -> datetime:
    return datetime.now(UTC)


def _say(lines: Sequence[str]) -> None:
    console = Console()
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
