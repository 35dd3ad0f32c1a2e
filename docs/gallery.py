"""Writes `docs/gallery.md` and its pictures: every spec of the gallery backtested anew.

    python docs/gallery.py --hours FOLDER

FOLDER holds hourly bars of SPY (`SPY_bt.csv`), as a source of instruments.yml describes them. No hours come
with Lockstep. Trials and looks go to a ledger of its own, which is thrown away.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import textwrap
from pathlib import Path

import numpy as np

from lockstep import backtest
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.family import load_strategy
from research.backtest.result import BacktestResult
from research.report.thinning import thin
from research.specs.explain import explain

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs/images/gallery"
# What each is traded on: what comes with Lockstep, but for the hours.
SPECS = {
    "rsi_2": "COMP", "donchian_breakout": "COMP", "ma_cross": "COMP", "volatility_compression": "COMP",
    "turn_of_the_month": "COMP", "pair_spread": "SPX", "ibs_spec": "COMP", "ibs_hourly_spec": "SPY",
    "momentum_pullback": "COMP", "volume_climax": "COMP",
}  # fmt: skip
HOURS = {"start": "2010-01-04", "end": "2019-12-31"}

INTRODUCTION = """\
# A gallery of specs

Ten strategies from the literature, written as [specs](specs.md). They are examples of what a spec can say,
and nothing more: **no edge is claimed for any of them.** Every figure below is in sample, over all bars that
are there, after costs. We fitted nothing to these bars, but rules are published because they worked on bars
like these; three of the ten lose money here all the same. COMP and SPX are index proxies that nobody can
trade.

`lockstep backtest --strategy configs/strategies/rsi_2.yaml --symbol COMP` writes the whole tear sheet of one,
`backtest("rsi_2", "COMP")` shows it in a notebook, and `lockstep spec explain` says how often each condition
holds. `python docs/gallery.py --hours FOLDER` writes this page; a test holds the numbers of trades.

| spec | symbol | years | trades | profit, USD | CAGR | Sharpe | drawdown | wins | in the market |
|---|---|---|---|---|---|---|---|---|---|
"""

WRAP = 118
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 150, 8, 96, 12, 24
_STYLE = (
    ".line { fill: none; stroke: #0969da; stroke-width: 1.5; } "
    ".level { stroke: #8c959f; stroke-dasharray: 3 3; } "
    "text { fill: #59636e; } @media (prefers-color-scheme: dark) { .line { stroke: #58a6ff; } "
    ".level { stroke: #6e7681; } text { fill: #9da7b1; } }"
)


def run(name: str, symbol: str, hours: Path) -> BacktestResult:
    """Return the backtest of one spec over all there is."""
    if symbol == "SPY":
        return backtest(name, symbol, data_dir=hours, **HOURS)
    return backtest(name, symbol)


def figures(result: BacktestResult) -> tuple[str, ...]:
    """Return the cells of the table."""
    measures = result.metrics
    dates = result.equity["session_date"].astype("datetime64[ns]").dt.year
    return (
        f"`{result.config.name}`", result.symbol, f"{dates.iloc[0]}-{dates.iloc[-1]}",
        f"{measures['trades']:.0f}", f"{measures['net_profit']:,.0f}".replace("-", "−"),
        f"{measures['cagr']:.1%}".replace("-", "−"), f"{measures['sharpe']:.2f}".replace("-", "−"),
        f"{measures['max_drawdown_fraction']:.1%}", f"{measures['win_rate']:.0%}",
        f"{measures['exposure']:.0%}",
    )  # fmt: skip


def picture(result: BacktestResult) -> str:
    """Return the account as a line: an SVG that follows the reader's light or dark theme."""
    equity = result.equity["equity"].to_numpy(dtype=float)
    kept = thin(equity, 400)
    capital = result.config.capital
    low, high = min(equity.min(), capital), max(equity.max(), capital)
    x = LEFT + (WIDTH - LEFT - RIGHT) * np.asarray(kept) / (len(equity) - 1)
    y = TOP + (HEIGHT - TOP - BOTTOM) * (high - equity[kept]) / (high - low)
    level = TOP + (HEIGHT - TOP - BOTTOM) * (high - capital) / (high - low)
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    years = result.equity["session_date"].astype("datetime64[ns]").dt.year
    name, last = result.config.name, f"${equity[-1]:,.0f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-size="12" '
        f"font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\">\n"
        f"<title>Account of {name} on {result.symbol}, from ${capital:,.0f} to {last}, after costs</title>\n"
        f"<style>{_STYLE}</style>\n"
        f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{level:.1f}" y2="{level:.1f}"/>\n'
        f'<polyline class="line" points="{path}"/>\n'
        f'<text x="{WIDTH - RIGHT + 8}" y="{y[-1] + 4:.1f}">{last}</text>\n'
        f'<text x="{LEFT}" y="{HEIGHT - 6}">{years.iloc[0]}</text>\n'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{years.iloc[-1]}</text>\n</svg>\n'
    )


def comment(name: str) -> list[str]:
    """Return the title of a spec, then source, idea and expectation, from the comment of its file."""
    lines = []
    for line in (ROOT / f"configs/strategies/{name}.yaml").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").removeprefix(" ")
        if text.startswith("  "):
            lines[-1] += f" {text.strip()}"
        else:
            lines.append(text)
    return lines


def sentences(config: RulesConfig) -> str:
    """Return what a spec does as a list, with its name and its ids set as code."""
    names = sorted({config.name, *config.written_ids, *config.feature_ids}, key=len, reverse=True)
    known = re.compile("|".join(rf"(?<!\w){re.escape(each)}(?![\w~%])" for each in names))
    lines = []
    for line in explain(config).text.splitlines():
        said = line.lstrip(" -")
        depth = (len(line) - len(line.lstrip())) // 2
        lines.append(f"{'    ' * depth}- {known.sub(lambda found: f'`{found[0]}`', said)}")
    return "\n".join(lines)


def section(name: str, result: BacktestResult) -> str:
    """Return the part of the page about one spec."""
    title, *rest = comment(name)
    told = [re.sub(r"^(\w+): (\w)", lambda found: f"**{found[1]}:** {found[2]}", each) for each in rest]
    config = load_strategy(ROOT / f"configs/strategies/{name}.yaml")
    assert isinstance(config, RulesConfig)
    heading, _, what = title.partition(": ")
    return "\n\n".join(
        (
            f"## {heading}",
            textwrap.fill(f"[`{name}.yaml`](../configs/strategies/{name}.yaml): {what}", WRAP),
            *(textwrap.fill(each, WRAP) for each in told),
            sentences(config),
            f"![The account of {name} on {result.symbol}](images/gallery/{name}.svg)",
        )
    )


def main() -> None:
    """Run every spec and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=Path, required=True, help="Folder of hourly bars of SPY.")
    hours = parser.parse_args().hours
    PICTURES.mkdir(exist_ok=True)
    rows, sections = [], []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LOCKSTEP_DB"] = f"sqlite:///{folder}/ledger.db"
        for name, symbol in SPECS.items():
            result = run(name, symbol, hours)
            (PICTURES / f"{name}.svg").write_text(picture(result), encoding="utf-8")
            rows.append(f"| {' | '.join(figures(result))} |")
            sections.append(section(name, result))
    text = INTRODUCTION + "\n".join(rows) + "\n\n" + "\n\n".join(sections) + "\n"
    (ROOT / "docs/gallery.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
