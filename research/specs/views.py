"""What a notebook shows of an explained spec."""

from __future__ import annotations

from research.report import page
from research.specs.explain import Explanation
from research.specs.tables import FREQUENCY_HEAD, frequency_rows


def explanation(found: Explanation) -> str:
    """Return the sentences, what the ids mean, and how often the conditions hold."""
    cards = [page.card("What it does", page.listing(found.text), classes="wide")]
    frequencies = found.frequencies
    if frequencies is not None:
        rows = [
            (part, f"{_indent(text)}{text.strip()}", *others)
            for part, text, *others in frequency_rows(frequencies)
        ]
        cards.append(
            page.card(
                "How often",
                page.table(FREQUENCY_HEAD, rows),
                caption=f"On training bars only: {frequencies.rows}.",
                classes="wide",
            )
        )
    meanings = [(name, page.prose(text)) for name, text in found.meanings]
    cards.append(
        page.card("What it reads", page.table(("id", page.prose("values")), meanings), classes="wide")
    )
    facts = ("a spec", f"{found.config.timeframe} bars")
    return page.fragment(page.header(found.config.name, "explained", facts), page.grid(cards))


def _indent(text: str) -> str:
    return "\N{NO-BREAK SPACE}" * (len(text) - len(text.lstrip()))
