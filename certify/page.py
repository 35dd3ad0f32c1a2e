"""A certificate as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from markupsafe import Markup

from certify.certificate import Certificate, Part
from certify.live_run import LiveRun
from research.report.page import (
    Tile,
    card,
    document,
    empty_block,
    fragment,
    grid,
    header,
    joined,
    key_figures,
    provenance,
    sparkline,
    strong,
    table,
)
from research.report.theme import GAIN, LOSS, axis, figure, time_axis, titled
from research.report.views import on_paper

if TYPE_CHECKING:
    from certify.portfolio import PortfolioCertificate

_COUNTED = ("bars", "vectors", "values", "probabilities", "decisions", "orders", "fills", "trades", "marks")
_SIDES = {
    "research": "Backtrader research run",
    "sweep": "compiled sweep",
    "live": "live engine, a process of its own",
}


def certificate_html(certificate: Certificate) -> str:
    """Return the page."""
    title = f"Parity of {certificate.symbol} {certificate.version}"
    cards = (_compared(certificate), _differences(certificate), _read(certificate), _for_what(certificate))
    return document(title, joined(_header(certificate), _figures(certificate), grid(cards)))


def certificate_fragment(certificate: Certificate) -> str:
    """Return what a notebook shows of a certificate: the verdict, what was compared, the first difference."""
    cards = grid([_compared(certificate), _differences(certificate)])
    return fragment(_header(certificate), _figures(certificate), cards)


def portfolio_certificate_html(certificate: PortfolioCertificate) -> str:
    """Return the page of a portfolio's certificate."""
    cards = (
        _account_compared(certificate),
        *(_lane_compared(symbol, parts) for symbol, parts in certificate.lanes.items()),
        _limits(certificate),
        _portfolio_for_what(certificate),
    )
    kills = ", ".join(f"{count:,}" for count in certificate.killed_after) or "never"
    top = header(
        certificate.portfolio,
        "parity certificate of a portfolio",
        (
            f"{certificate.start} to {certificate.end}",
            joined("killed after bar set ", strong(kills)),
            f"issued {certificate.issued:%Y-%m-%d %H:%M} UTC",
            f"valid until {certificate.expires:%Y-%m-%d}",
        ),
        badge="Parity holds" if certificate.passed else "Parity does not hold",
    )
    account = certificate.account[-1]
    tiles = (
        ("Lanes", len(certificate.lanes)),
        ("Bar sets", account.sets),
        ("Proposals", account.proposals),
        ("Refused", account.proposals - account.admitted),
        ("Fills", sum(parts[-1].fills for parts in certificate.lanes.values())),
    )
    figures = key_figures(Tile(name, f"{count:,}", "compared bit for bit") for name, count in tiles)
    return document(f"Parity of {certificate.portfolio}", joined(top, figures, grid(cards)))


def _account_compared(certificate: PortfolioCertificate) -> Markup:
    rules = sorted({rule for part in certificate.account for rule in part.refused})
    nets = ("net orders",) if any(part.nets for part in certificate.account) else ()
    head = ("", "differences", "bar sets", "proposals", "admitted", *rules, *nets)
    rows = [
        (
            " — ".join(_SIDES[each] for each in part.between),
            *(f"{each:,}" for each in (part.different, part.sets, part.proposals, part.admitted)),
            *(f"{part.refused.get(rule, 0):,}" for rule in rules),
            *(f"{part.nets:,}" for _ in nets),
        )
        for part in certificate.account
    ]
    caption = (
        "Equity, drawdown, stops and every answer of the coordinator. What differs, or was not compared: "
        f"{certificate.first or 'nothing'}"
    )
    return card("The account", table(head, rows), caption=caption, classes="wide")


def _lane_compared(symbol: str, parts: Sequence[Part]) -> Markup:
    head = ("", "differences", *(name.replace("marks", "equity marks") for name in _COUNTED))
    rows = [
        (_between(part), f"{part.different:,}", *(_count(part, name) for name in _COUNTED)) for part in parts
    ]
    return card(f"Lane {symbol}", table(head, rows), classes="wide")


def _limits(certificate: PortfolioCertificate) -> Markup:
    rows = [(name, _limit(value)) for name, value in certificate.limits.items() if value not in (None, {})]
    refused = ", ".join(f"{count:,} by {rule}" for rule, count in certificate.refusals.items()) or "nothing"
    caption = f"The gateway's limits of the desk, with which the live engine ran. It refused {refused}."
    return card("Limits of the gateway", table(("limit", "value"), rows), caption=caption)


def _limit(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_limit(each)}" for name, each in value.items() if each is not None)
    return f"{value:,.10g}"


def _portfolio_for_what(certificate: PortfolioCertificate) -> Markup:
    entries = {
        "certificate": certificate.digest,
        "portfolio": certificate.portfolio_hash,
        "identity": certificate.identity,
        **{f"bundle {symbol}": sha256 for symbol, sha256 in certificate.bundles.items()},
        **certificate.hashes,
        "processor": certificate.processor,
        "machine": certificate.machine,
        "floating point": certificate.floats,
        **certificate.versions,
    }
    caption = "It holds for exactly these; if one of them changes, certify again."
    return card("Holds for", provenance(entries), caption=caption, classes="wide")


def _header(certificate: Certificate) -> Markup:
    verdict = "Parity holds" if certificate.passed else "Parity does not hold"
    kills = ", ".join(f"{count:,}" for count in certificate.killed_after) or "never"
    return header(
        certificate.symbol,
        f"parity certificate of {certificate.version}",
        (
            f"{certificate.start} to {certificate.end}",
            joined("killed after bar set ", strong(kills)),
            f"issued {certificate.issued:%Y-%m-%d %H:%M} UTC",
            f"valid until {certificate.expires:%Y-%m-%d}",
        ),
        badge=verdict,
    )


def _figures(certificate: Certificate) -> Markup:
    live = certificate.parts[-1]
    tiles = [
        ("Bars", live.bars),
        ("Feature values", live.values),
        *((("Probabilities", live.probabilities),) if live.probabilities else ()),
        ("Decisions", live.decisions),
        ("Trades", live.trades),
    ]
    return key_figures(Tile(name, f"{count:,}", "compared bit for bit") for name, count in tiles)


def _compared(certificate: Certificate) -> Markup:
    head = ("", "differences", *(name.replace("marks", "equity marks") for name in _COUNTED))
    rows = [
        (_between(part), f"{part.different:,}", *(_count(part, name) for name in _COUNTED))
        for part in certificate.parts
    ]
    caption = (
        "Every engine ran over the same bars with the same bundle. A sweep keeps fills and equity only; the "
        "rest is compared between research and the live engine."
    )
    return card("What was compared", table(head, rows), caption=caption, classes="wide")


def _between(part: Part) -> str:
    first, second = (_SIDES[each] for each in part.between)
    return f"{first} — {second}"


def _count(part: Part, name: str) -> str:
    number = getattr(part, name)
    return f"{number:,}" if number else "–"


def _differences(certificate: Certificate) -> Markup:
    found = [part for part in certificate.parts if part.first]
    if not found:
        return card("First difference", empty_block("None."), classes="wide")
    rows = [(part.kind, _between(part), part.first) for part in found]
    body = table(("kind", "between", "first difference"), rows, classes="provenance")
    return card("First difference", body, classes="wide")


def _read(certificate: Certificate) -> Markup:
    rows = [(name, f"{count:,}") for name, count in certificate.parts[-1].series.items()]
    caption = (
        "Compared bar by bar between research's history and what came to the live engine, so that a bar that "
        "differs is named before the features that it changes. Of the traded series, these are the bars that "
        "filled the windows."
    )
    return card("Bars that features read", table(("series", "bars"), rows), caption=caption)


def _for_what(certificate: Certificate) -> Markup:
    entries = {
        "certificate": certificate.digest,
        **certificate.hashes,
        "processor": certificate.processor,
        "machine": certificate.machine,
        "floating point": certificate.floats or "not recorded",
        **certificate.versions,
    }
    caption = "It holds for exactly these; if one of them changes, certify again."
    return card("Holds for", provenance(entries), caption=caption, classes="wide")


def live_fragment(run: LiveRun) -> str:
    """Return what a notebook shows of a run of the live engine."""
    symbols = list(dict.fromkeys(lane.symbol for row in run.sets for lane in row.lanes))
    kills = ", ".join(f"{each:,}" for each in run.killed_after) or "never"
    accounts = []
    for symbol in symbols:
        found = run.decisions(symbol)
        counts = found["reason"].value_counts()
        rows = [(str(reason), f"{number:,}") for reason, number in counts.items()]
        equity = found["equity"].tolist()
        line = sparkline(f"equity of {symbol}", equity, level=equity[0])
        accounts += [
            card(f"Equity of {symbol}", line, caption="From its first bar (dotted), costs included."),
            card(f"Decisions on {symbol}", table(("reason", "bars"), rows)),
        ]
    head = header(
        ", ".join(symbols),
        "live engine, a process of its own",
        (f"{len(run.sets):,} bar sets", joined("killed after bar set ", strong(kills))),
        badge=f"killed {times(len(run.killed_after))}, went on {times(run.restarts)}",
    )
    return fragment(head, grid(accounts))


def times(count: int) -> str:
    """Return how often in words."""
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def live_figure(run: LiveRun, symbol: str = "") -> go.Figure:
    """Return the equity of an instrument after each bar, and dotted lines where the engine was killed."""
    found = run.decisions(symbol)
    dates = [f"{each:%Y-%m-%d %H:%M}" for each in found.index]
    drawn = figure(340, hovermode="x unified")
    drawn.add_scatter(
        x=dates, y=found["equity"].round(2).tolist(), line={"color": GAIN, "width": 1.6}, name="equity",
        hovertemplate="$%{y:,.0f}",
    )  # fmt: skip
    for count in run.killed_after:
        if 0 < count <= len(dates):
            drawn.add_vline(x=dates[count - 1], line={"color": LOSS, "width": 1, "dash": "dot"})
    drawn.update_layout(xaxis=time_axis(), yaxis=axis(tickformat="$~s", title=titled("Equity")))
    return on_paper(drawn)
