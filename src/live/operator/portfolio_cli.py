"""Commands on the portfolio of a desk: `show`, `resume`."""

from __future__ import annotations

import json as json_
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console

from lockstep.errors import LiveError
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.live.messages import iso
from lockstep.live.operator.commands import ResumeCommand
from lockstep.live.operator.desk import OperatorDesk
from lockstep.live.portfolio import ended_with
from lockstep.market.command_line import App, LiveFile
from lockstep.portfolio.config import PortfolioConfig
from lockstep.tables import TextTable, number, prose

app = App(no_args_is_help=True)

_QUERY = """
    SELECT sets.stamp AS stamp, symbol, base, scale, quantity, rule, margin, equity
    FROM proposals JOIN sets USING (sequence) JOIN settlements USING (sequence)
    ORDER BY sequence DESC, place LIMIT ?
"""


@app.command()
def show(
    config: LiveFile,
    last: Annotated[int, typer.Option(min=0, help="How many of the newest proposals.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show equity, drawdown, what stops entries, the room of each lane, and the newest proposals."""
    told = summary(LiveConfig.load(config), last=last)
    if json:
        typer.echo(json_.dumps(told, indent=2))
        return
    print_summary(Console(), told)


@app.command()
def resume(
    reason: Annotated[str, typer.Option(help="Reason and person; recorded in the journal.")],
    config: LiveFile,
) -> None:
    """End the halt that a drawdown has brought; drawdowns count from the present equity on."""
    desk = OperatorDesk.read(config)
    if any(isinstance(command, ResumeCommand) for _, command in desk.posted):
        raise LiveError("portfolio: a command to end the halt waits already; start the engine, or wait")
    if not summary(desk.config, last=0)["halted"]:
        raise LiveError("portfolio: is not halted, there is nothing to end")
    if not reason.strip():
        raise LiveError("portfolio: the end of a halt needs a reason")
    desk.post(ResumeCommand(reason=reason), f"resume-{time.time_ns()}")
    typer.echo(f"the halt ends; {desk.taken}")


def summary(config: LiveConfig, *, last: int) -> dict[str, Any]:
    """Return what the journal knows of the desk's portfolio; LiveError where it has none."""
    with Journal.open(config.journal, readonly=True) as journal:
        epoch = journal.newest_epoch()
        found = ended_with(journal, epoch)
        if epoch is None or found is None:
            raise LiveError(
                f"journal {config.journal}: its newest epoch trades no portfolio; give `portfolio: FILE` in "
                "live.yml, and begin a new epoch"
            )
        proposals = journal.records(_QUERY, last)
    portfolio, state = PortfolioConfig.model_validate(found.content), found.state
    return {
        "portfolio": portfolio.name,
        "hash": portfolio.portfolio_hash,
        "epoch": epoch.number,
        "as of": iso(state.stamp) if state.stamp else "",
        "capital": portfolio.capital,
        "equity": state.equity,
        "drawdown": state.drawdown,
        "tier": state.tier,
        "stopped": state.stopped,
        "halted": state.halted,
        "lanes": [
            {name: None if value != value else value for name, value in asdict(each).items()}
            for each in state.lanes
        ],
        "proposals": [{**row, "stamp": iso(row["stamp"])} for row in proposals],
    }


def print_summary(console: Console, told: dict[str, Any]) -> None:
    """Print a summary as tables."""
    stops = [
        text
        for name, text in (
            ("halted", "HALTED by its drawdown: lockstep portfolio resume --reason ..."),
            ("stopped", "a loss has ended entries for today"),
        )
        if told[name]
    ]
    console.print(
        f"{told['portfolio']} {told['hash'][:12]}, epoch {told['epoch']}: equity {told['equity']:,.2f} USD, "
        f"drawdown {told['drawdown']:.2%} of {told['capital']:,.0f}"
        + (f", tier {told['tier']}" if told["tier"] else ""),
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    for text in stops:
        console.print(text, style="bold red", soft_wrap=True, highlight=False)
    console.print(lanes_table(told))
    if told["proposals"]:
        console.print(proposals_table(told))


def lanes_table(told: dict[str, Any]) -> TextTable:
    """Return what each lane takes of the portfolio."""
    table = TextTable("symbol", number("close"), number("room"), prose(""), title="room that lanes take")
    for lane in told["lanes"]:
        close = "" if lane["close"] is None else f"{lane['close']:,.10g}"
        table.add_row(lane["symbol"], close, f"{lane['room']:+g}", "must leave" if lane["leaving"] else "")
    return table


def proposals_table(told: dict[str, Any]) -> TextTable:
    """Return the newest proposals with what was answered, and the margin of all rooms with each."""
    table = TextTable(
        "stamp", "symbol", number("wanted"), number("scale"), number("admitted"), prose("refused by"),
        number("margin"), number("of equity"), title="newest proposals",
    )  # fmt: skip
    for row in told["proposals"]:
        margin = row["margin"]
        table.add_row(
            row["stamp"], row["symbol"], f"{row['base']:g}", f"{row['scale']:g}", f"{row['quantity']:+g}",
            row["rule"], "" if margin is None else f"{margin:,.0f}",
            "" if margin is None else f"{margin / row['equity']:.1%}",
        )  # fmt: skip
    return table
