"""Commands on quarantined bars: `list`, `accept`, `reject`. They read the journal and post to the mailbox."""

from __future__ import annotations

import json as json_
import time as clock
from typing import Annotated, Any

import typer

from lockstep.errors import LiveError
from lockstep.live.messages import iso
from lockstep.live.operator.commands import BarCommand
from lockstep.live.operator.desk import OperatorDesk
from lockstep.live.operator.statement import utc_nanoseconds
from lockstep.live.quarantine import ACCEPT, REJECT, QuarantinedBar
from lockstep.market.bars import BAR_COLUMNS
from lockstep.market.command_line import App, LiveFile
from lockstep.settings import validated

app = App(no_args_is_help=True)

Series = Annotated[
    str, typer.Argument(help="Series as in the alert, ES:1h; or ES if only one of its series waits.")
]
Stamp = Annotated[str, typer.Argument(help="End of the bar, ISO with offset: 2026-03-06T14:00:00Z.")]
Reason = Annotated[str, typer.Option(help="Where the price was looked up, and by whom.")]


@app.command("list")
def show(
    config: LiveFile,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show quarantined bars that no later bar of their series has overtaken."""
    told = listing(OperatorDesk.read(config))
    if json:
        typer.echo(json_.dumps(told, indent=2))
        return
    for bar in told["bars"]:
        prices = " ".join(f"{name} {bar[name]:.10g}" for name in BAR_COLUMNS)
        typer.echo(f"{bar['state']:<10} {bar['series']} {bar['end']}  {prices}")
    if not told["bars"]:
        typer.echo("no bar is quarantined")


@app.command()
def accept(series: Series, end: Stamp, reason: Reason, config: LiveFile) -> None:
    """Confirm the price. The bar joins its set, or enters the windows if its set was released.

    Its close becomes the reference: later bars plausible relative to it pass, quarantined ones included.
    """
    _decide(OperatorDesk.read(config), series, end, ACCEPT, reason)


@app.command()
def reject(series: Series, end: Stamp, reason: Reason, config: LiveFile) -> None:
    """Declare the bar wrong. It stays on record, and nothing is computed from it."""
    _decide(OperatorDesk.read(config), series, end, REJECT, reason)


def _decide(desk: OperatorDesk, series: str, end: str, decision: str, reason: str) -> None:
    bar = found(desk, series, utc_nanoseconds(end, f"bar of {series}"))
    if not reason.strip():
        raise LiveError(f"bar {bar}: no reason; say where the price was looked up, and by whom")
    if any((each.key, each.end) == (str(bar.key), bar.end) for each in desk.posted_decisions()):
        raise LiveError(f"bar {bar}: a decision about it is in the mailbox already; {desk.taken}")
    told = {"symbol": bar.key.symbol, "key": str(bar.key), "end": bar.end, "values": bar.values,
            "decision": decision, "reason": reason}  # fmt: skip
    command = validated(BarCommand, told, where=f"bar {bar}")
    # The name orders it among others, and the same bar may be decided again in another epoch.
    desk.post(command, f"bar-{clock.time_ns():020d}-{bar.key.symbol}-{bar.end}")
    typer.echo(f"{bar}: {decision}; {desk.taken}")


def found(desk: OperatorDesk, series: str, end: int) -> QuarantinedBar:
    """Return the bar of a series, or of the only series of a symbol, that waits for a decision."""
    waiting = [bar for bar in desk.quarantine.waiting if bar.end == end]
    exact = [bar for bar in waiting if str(bar.key) == series]
    bars = exact or [bar for bar in waiting if bar.key.symbol == series]
    if len(bars) == 1:
        return bars[0]
    if bars:
        raise LiveError(
            f"bar {series} {iso(end)}: there are {', '.join(str(bar.key) for bar in bars)}; name one"
        )
    there = ", ".join(map(str, desk.quarantine.waiting)) or "none"
    raise LiveError(f"bar {series} {iso(end)}: no such bar is quarantined; waiting are: {there}")


def listing(desk: OperatorDesk) -> dict[str, Any]:
    """Return the quarantined bars of a desk as plain JSON; `posted`: decided, and not yet taken."""
    posted = {(each.key, each.end): each.decision for each in desk.posted_decisions()}
    bars = []
    for bar in desk.quarantine:
        waits = posted.get((str(bar.key), bar.end))
        state = f"{waits} posted" if waits else bar.state
        values = dict(zip(BAR_COLUMNS, bar.values, strict=True))
        bars.append({"series": str(bar.key), "end": iso(bar.end), "state": state, **values})
    return {
        "epoch": desk.epoch.number,
        "engine": "is running" if desk.running else "is not running",
        "bars": bars,
    }
