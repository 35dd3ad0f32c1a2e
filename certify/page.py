"""A certificate as one self-contained HTML page."""

from __future__ import annotations

from certify.certificate import Certificate, Part
from research.report.page import card, escaped, table
from research.report.style import STYLE

_COUNTED = ("bars", "vectors", "values", "probabilities", "decisions", "orders", "fills", "trades", "marks")
_SIDES = {
    "research": "Backtrader research run",
    "sweep": "compiled sweep",
    "live": "live engine, a process of its own",
}


def certificate_html(certificate: Certificate) -> str:
    """Return the page."""
    title = f"Parity of {certificate.symbol} {certificate.version}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{STYLE}</style></head>\n<body><main>"
        f"{_header(certificate)}{_figures(certificate)}"
        f'<div class="grid">{_compared(certificate)}{_differences(certificate)}{_read(certificate)}'
        f"{_for_what(certificate)}</div>"
        "</main></body></html>\n"
    )


def _header(certificate: Certificate) -> str:
    verdict = "Parity holds" if certificate.passed else "Parity does not hold"
    kills = ", ".join(f"{count:,}" for count in certificate.killed_after) or "never"
    return (
        f"<header><h1>{escaped(certificate.symbol)}<small>parity certificate of "
        f"{escaped(certificate.version)}</small></h1>"
        f'<p class="facts"><span>{escaped(certificate.start)} to {escaped(certificate.end)}</span>'
        f"<span>killed after bar set <b>{escaped(kills)}</b></span>"
        f"<span>issued {certificate.issued:%Y-%m-%d %H:%M} UTC</span>"
        f"<span>valid until {certificate.expires:%Y-%m-%d}</span>"
        f'<span class="proxy">{escaped(verdict)}</span></p></header>'
    )


def _figures(certificate: Certificate) -> str:
    live = certificate.parts[-1]
    tiles = [
        ("Bars", live.bars),
        ("Feature values", live.values),
        *((("Probabilities", live.probabilities),) if live.probabilities else ()),
        ("Decisions", live.decisions),
        ("Trades", live.trades),
    ]
    cells = "".join(
        f'<div class="kpi"><span>{name}</span><b>{count:,}</b><span>compared bit for bit</span></div>'
        for name, count in tiles
    )
    return f'<div class="kpis">{cells}</div>'


def _compared(certificate: Certificate) -> str:
    head = ("", "differences", *(name.replace("marks", "equity marks") for name in _COUNTED))
    rows = [
        (_between(part), f"{part.different:,}", *(_count(part, name) for name in _COUNTED))
        for part in certificate.parts
    ]
    caption = (
        "Every engine ran on the same bars with the same bundle. A sweep keeps fills and equity only; the "
        "rest is compared between research and the live engine."
    )
    body = f'<div class="scroll">{table(head, rows)}</div>'
    return card("What was compared", body, caption=caption, classes="wide")


def _between(part: Part) -> str:
    first, second = (_SIDES[each] for each in part.between)
    return escaped(f"{first} — {second}")


def _count(part: Part, name: str) -> str:
    number = getattr(part, name)
    return f"{number:,}" if number else "–"


def _differences(certificate: Certificate) -> str:
    found = [part for part in certificate.parts if part.first]
    if not found:
        return card("First difference", '<p class="empty">There is none.</p>', classes="wide")
    rows = [(escaped(part.kind), _between(part), escaped(part.first)) for part in found]
    body = table(("kind", "between", "first difference"), rows, classes="provenance")
    return card("First difference", body, classes="wide")


def _read(certificate: Certificate) -> str:
    rows = [(escaped(name), f"{count:,}") for name, count in certificate.parts[-1].series.items()]
    caption = (
        "Compared bar by bar between research's history and what came to the live engine, so that a bar that "
        "differs is named before the features that it changes. Of the traded series, these are the bars that "
        "filled the windows."
    )
    return card("Bars that features read", table(("series", "bars"), rows), caption=caption)


def _for_what(certificate: Certificate) -> str:
    rows = [
        ("certificate", certificate.digest),
        *certificate.hashes.items(),
        ("processor", certificate.processor),
        ("machine", certificate.machine),
        ("floating point", certificate.floats or "not recorded"),
        *(f"{name} {value}".rsplit(" ", 1) for name, value in certificate.versions.items()),
    ]
    body = table(("", ""), [(escaped(name), escaped(value)) for name, value in rows], classes="provenance")
    caption = "It holds for exactly these; where one of them changes, ask for a new one."
    return card("Holds for", body, caption=caption, classes="wide")
