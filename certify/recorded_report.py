"""What a recorded journal shows beside settled data, ready for JSON and for the terminal.

A recorded journal against settled data, as tables for the terminal.
"""

from __future__ import annotations

from typing import ClassVar

from rich.console import Console

from certify.skew import FeatureSkew, SeriesSkew
from lockstep.settings import Grown, SchemaVersion, Settings
from lockstep.tables import TextTable, number, prose
from research.paper.residuals import Residual, ResidualSummary
from research.report.page import count, ratio, usd


def print_recorded(console: Console, report: RecordedReport) -> None:
    """Print the verdict, then what differs: features, bars, decisions; then what the fills cost."""
    verdict = "as recorded" if report.passed else f"{count(report.different)} DIFFERENCES"
    head = f"{report.journal} ({', '.join(report.modes)}), {report.first} to {report.last}: {verdict}"
    console.print(head, style="bold", soft_wrap=True, highlight=False, markup=False)
    console.print(f"  {count(report.vectors)} vectors, {count(report.values)} values", highlight=False)
    console.print(_features(report), _series(report), _decisions(report))
    if report.account is not None:
        console.print(_account(report.account))
    if report.residuals:
        console.print(_fills(report))
    firsts = {each.feature: each.first for each in report.features}
    firsts |= {each.symbol: each.first for each in report.decisions}
    firsts["portfolio"] = report.account.first if report.account else ""
    for name, first in firsts.items():
        if first:
            console.print(f"  {name} {first}", soft_wrap=True, highlight=False, markup=False)


def _table(title: str, first: str, *others: str, last: str = "") -> TextTable:
    """Return an empty table: a name, numbers, and `last`, a column of text, where there is one."""
    texts = [prose(last)] if last else []
    return TextTable(first, *map(number, others), *texts, title=title)


def _features(report: RecordedReport) -> TextTable:
    table = _table(
        "features against settled bars", "feature", "compared", "different", "largest", last="kinds"
    )
    different = [each for each in report.features if each.different]
    for each in different:
        kinds = ", ".join(f"{kind} {count(number)}" for kind, number in each.kinds.items())
        table.add_row(each.feature, count(each.compared), count(each.different), f"{each.largest:.6g}", kinds)
    alike = [each for each in report.features if not each.different]
    if alike:
        what = f"the other {len(alike)}" if different else f"all {len(alike)}"
        table.add_row(what, count(sum(each.compared for each in alike)), "0", "0", "")
    return table


def _series(report: RecordedReport) -> TextTable:
    table = _table(
        "bars", "series", "came", "late", "corrected since", "never came", "not settled", last="first"
    )
    for each in report.series:
        numbers = (each.bars, each.late, each.corrected, each.missing, each.unsettled)
        table.add_row(each.series, *map(count, numbers), each.first)
    return table


def _decisions(report: RecordedReport) -> TextTable:
    table = _table("decisions", "symbol", "compared", "other by code", "other by data", "not settled")
    for each in report.decisions:
        table.add_row(each.symbol, *map(count, (each.compared, each.code, each.data, each.unsettled)))
    return table


def _account(account: AccountSkew) -> TextTable:
    title = "the portfolio, settled again from what its lanes recorded"
    table = _table(title, "", "bar sets", "proposals", "different", "of mode live")
    numbers = (account.sets, account.proposals, account.different, account.unsettled)
    table.add_row("portfolio", *map(count, numbers))
    return table


def _fills(report: RecordedReport) -> TextTable:
    table = _table(
        "fills beyond the cost model, positive against us", "order", "fills", "mean ticks", "median",
        "worst", "USD", "commission", "bar did not reach",
    )  # fmt: skip
    for each in report.residuals:
        table.add_row(
            f"{each.symbol} {each.order}", count(each.fills), ratio(each.mean_ticks),
            ratio(each.median_ticks), ratio(each.worst_ticks), usd(each.usd, 2), usd(each.commission, 2),
            count(each.untouched),
        )  # fmt: skip
    return table


SCHEMA = 1


class DecisionSkew(Settings):
    """The decisions of one instrument, taken again on the recorded account.

    code   differ on the recorded vector already: other rules, or another model
    data   differ on the settled vector only: what was recorded was right for the bars that had come
    """

    symbol: str
    compared: int
    unsettled: int
    code: int
    data: int
    first: str


class AccountSkew(Settings):
    """What a portfolio decided, decided again from what its lanes had recorded.

    sets, proposals   settled again; different: sets that came out otherwise; unsettled: sets of mode live
    first             the first difference in words
    """

    sets: int = 0
    proposals: int = 0
    different: int = 0
    unsettled: int = 0
    first: str = ""

    def with_(self, *, sets: int = 0, proposals: int = 0, unsettled: int = 0, first: str = "") -> AccountSkew:
        """Return it with so many more; `first` is what differs in them, empty for nothing."""
        return AccountSkew(
            sets=self.sets + sets,
            proposals=self.proposals + proposals,
            different=self.different + bool(first),
            unsettled=self.unsettled + unsettled,
            first=self.first or first,
        )


class RecordedReport(Grown):
    """What a journal recorded, held against settled data and today's code.

    account   of a portfolio, None where none was traded
    fills   of mode live only; residuals   their summaries: what they cost beyond the cost model
    """

    LATER: ClassVar[frozenset[str]] = frozenset({"account"})

    schema_version: SchemaVersion = SCHEMA
    journal: str
    modes: tuple[str, ...]
    epochs: int
    first: str
    last: str
    vectors: int
    values: int
    features: tuple[FeatureSkew, ...]
    series: tuple[SeriesSkew, ...]
    decisions: tuple[DecisionSkew, ...]
    account: AccountSkew | None = None
    residuals: tuple[ResidualSummary, ...]
    fills: tuple[Residual, ...]

    @property
    def different(self) -> int:
        """How many values and decisions differ, and on how many bars decisions have no settled bar."""
        values = sum(each.different for each in self.features)
        values += self.account.different if self.account else 0
        return values + sum(each.code + each.data + each.unsettled for each in self.decisions)

    @property
    def passed(self) -> bool:
        """Whether every recorded value and decision comes out again; residuals of fills are no difference."""
        return self.different == 0

    def show(self, console: Console) -> None:
        """Print it as tables."""
        print_recorded(console, self)
