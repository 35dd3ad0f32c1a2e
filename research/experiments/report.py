"""An experiment as one self-contained HTML page: the same bytes for the same experiment."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from lockstep.desk import results_folder
from lockstep.strategy.config import StrategyConfig
from research.experiments import account_store, figures
from research.experiments.accounts import CHOSEN, SymbolAccount, figures_of
from research.experiments.analysis import Judgement
from research.experiments.diagnostics import SymbolDiagnostics
from research.experiments.execution import Lab
from research.experiments.report_sections import (
    best_against_market,
    by_symbol,
    checks,
    header,
    key_figures,
    neighbours,
    provenance,
    top_runs,
    windows,
)
from research.experiments.selection import Ranked, chosen_by_window
from research.experiments.sensitivity import (
    ParameterImportance,
    Scores,
    by_pair,
    by_value,
    importance,
    neighbourhood,
    scores,
)
from research.experiments.service import diagnosed, judged, verified_ranking
from research.experiments.store import Record
from research.experiments.tables import averaged
from research.experiments.variants import spelled
from research.experiments.why import (
    evidence_line,
    other_opinions,
    record_opinions,
    verdict_on,
    was_promoted,
)
from research.report.heat_map import heat_map
from research.report.page import (
    card,
    document,
    facts_table,
    figure_block,
    fragment,
    grid,
    joined,
    listing,
    write_page,
)
from research.report.views import on_paper
from research.statistics.verdict import VerdictLine

_HEAT_MAPS = 4
# Points of all equity lines together; each symbol gets its share.
_POINTS, _LEAST_POINTS = 6_000, 300


@dataclass(frozen=True, kw_only=True, eq=False)
class ExperimentReport:
    """A finished experiment, measured: everything that its page shows.

    ranked      the best variants, each the same in Backtrader; judgement   how far the winner can be believed
    verdict     that in one of four words, with a reason; diagnose   see `opinions`
    chosen      per window of a walk-forward the variant that was best before it
    train       the winner's accounts on the training range, by symbol

    In a notebook it shows itself; `table` has the best variants, `plot()` draws the winner's equity, `save()`
    writes the page, and `config` is what to backtest, train or promote next.
    """

    record: Record
    by: str
    ranked: list[Ranked]
    judgement: Judgement
    scores: Scores
    importance: ParameterImportance | None
    chosen: list[Ranked | None]
    train: Mapping[str, SymbolAccount]
    verdict: VerdictLine
    diagnose: Callable[[], tuple[SymbolDiagnostics, ...]]

    @cached_property
    def opinions(self) -> tuple[SymbolDiagnostics, ...]:
        """What other tests say of all trials, by symbol; they are run again for it when it is first asked."""
        return self.diagnose()

    @property
    def winner(self) -> Ranked:
        """The best variant."""
        return self.ranked[0]

    @property
    def config(self) -> StrategyConfig:
        """The winner's configuration."""
        found = self.record.plan.space.variant(self.winner.variant).config
        assert found is not None, "a variant without a configuration never wins"
        return found

    @property
    def table(self) -> pd.DataFrame:
        """The best variants, one row each: parameters, and the measures of training and test ranges."""
        shown = dict.fromkeys((self.by, "trades", "net_profit", "max_drawdown_fraction", "profit_factor"))
        return pd.DataFrame(
            [
                {
                    **{path: spelled(value) for path, value in each.parameters.items()},
                    f"train {self.by}": each.train[self.by],
                    **{f"test {name.replace('_', ' ')}": each.test[name] for name in shown},
                }
                for each in self.ranked
            ],
            index=pd.RangeIndex(1, len(self.ranked) + 1, name="rank"),
        )

    def plot(self, symbol: str = "") -> go.Figure:
        """Return the winner's equity on a symbol, the first by default: training, then test."""
        symbol = symbol or self.record.plan.symbols[0]
        accounts = self.train[symbol], self.winner.accounts[symbol]
        forward = self.judgement.walk_forward.get(symbol)
        return on_paper(figures.equity(*accounts, forward, self.record.plan.windows, _POINTS))

    def save(self, folder: Path | str | None = None) -> Path:
        """Write the page into a folder, the results by default, and return its path."""
        return write_experiment(self, Path(folder or results_folder()))

    def _repr_html_(self) -> str:
        top = (header(self.record, self.judgement, self.verdict), key_figures(self.record, self.judgement))
        return fragment(*top, grid(_result_cards(self)))


def page_data(lab: Lab, record: Record, by: str | None = None) -> ExperimentReport:
    """Measure what the page shows; the winners are verified first. See `service.verified_ranking`."""
    measure = by or record.plan.select_by
    ranked = verified_ranking(lab, record, by=measure)
    found = scores(lab.store, record, measure)
    judgement = judged(lab, record, ranked[0], measure)
    return ExperimentReport(
        record=record,
        by=measure,
        ranked=ranked,
        judgement=judgement,
        verdict=verdict_on(record, judgement, promoted=was_promoted(lab, record, ranked[0])),
        diagnose=lambda: diagnosed(lab, record, ranked, judgement),
        scores=found,
        importance=importance(record.plan, found),
        chosen=chosen_by_window(lab.store, record, by=measure) if len(record.plan.windows) > 1 else [],
        train=account_store.of_variant(lab.store, record, ranked[0].variant, "train"),
    )


def write_experiment(data: ExperimentReport, folder: Path, *, shared_js: Path | None = None) -> Path:
    """Write the page into `folder` in a single step and return its path; `shared_js` see `write_page`."""
    slug = "".join(each if each.isalnum() or each in "-_" else "-" for each in data.record.name)
    path = folder / f"experiment-{data.record.id}-{slug}.html"
    return write_page(path, _title(data), _body(data), shared_js=shared_js)


def page_html(data: ExperimentReport) -> str:
    """Return the page; it holds no time, host or path."""
    return document(_title(data), _body(data))


def _title(data: ExperimentReport) -> str:
    return f"Experiment {data.record.name}"


def _body(data: ExperimentReport) -> Markup:
    cards = (
        *_equity_cards(data), *_result_cards(data), *_opinion_cards(data), *_overfitting_cards(data),
        *_parameter_cards(data),
        *_record_cards(data),
    )  # fmt: skip
    top = header(data.record, data.judgement, data.verdict), key_figures(data.record, data.judgement)
    return joined(*top, grid(cards))


def _equity_cards(data: ExperimentReport) -> list[Markup]:
    """Return the winner's equity on each symbol; nothing where an earlier version kept no curve."""
    cards, windows = [], data.record.plan.windows
    points = max(_LEAST_POINTS, _POINTS // len(data.record.plan.symbols))
    for number, (symbol, test) in enumerate(data.winner.accounts.items()):
        train, forward = data.train.get(symbol), data.judgement.walk_forward.get(symbol)
        if train is None or not train.days.size or not test.days.size:
            continue
        drawn = figures.equity(train, test, forward, windows, points)
        own = "" if forward is None else f" Dotted, {CHOSEN}: {figures_of(forward.metrics)}."
        cards.append(
            card(
                f"Equity of the winner on {symbol}",
                figure_block(f"equity{number}", drawn),
                caption=f"Training {train.dates} in grey, then test {test.dates} as one account: "
                f"{figures_of(test.metrics)}. Every other test window is shaded.{own}",
                classes="wide",
            )
        )
    return cards


def _result_cards(data: ExperimentReport) -> list[Markup]:
    cards = [
        card(
            "Verdict",
            checks(data.judgement),
            caption="What a promotion requires of the winner. "
            + ". ".join(map(evidence_line, data.judgement.symbols))
            + ".",
            classes="wide",
        ),
        card(
            "Top runs",
            top_runs(data.record, data.ranked, data.by),
            caption=_top_caption(data),
            classes="wide",
        ),
        card(
            "By symbol",
            by_symbol(data.judgement, data.train),
            caption="The winner on each symbol, each with its own account.",
            classes="wide",
        ),
    ]
    if data.chosen:
        cards.append(
            card(
                "Walk-forward",
                windows(data.record, data.chosen, data.judgement, data.by),
                caption="Per window the variant that was best on its training range, and what it did next in "
                "a run of its own. The last lines are one account over all windows: where the variant "
                "changes, the old one manages its position out before the new one starts.",
                classes="wide",
            )
        )
    return cards


def _top_caption(data: ExperimentReport) -> str:
    means = averaged(data.record)
    order = f"Best by {data.by} on the test range"
    if means:
        order += f", its mean over {means}; the other figures are those of accounts, all test windows as one"
    return f"{order}. Each was rerun in Backtrader: same trades, same profit to the last bit."


def _opinion_cards(data: ExperimentReport) -> list[Markup]:
    """Return what other tests say of all trials on each symbol; none of them decides."""
    cards = []
    for each in data.opinions:
        unknown = f" The trials were not run again: {each.unknown}." if each.unknown else ""
        if facts := record_opinions(each):
            caption = f"How long a record its test account needs.{unknown}"
            cards.append(card(f"Record of the winner on {each.symbol}", facts_table(facts), caption=caption))
        if facts := other_opinions(each):
            caption = "What other tests say of all trials, and other orders of the trades; none decides."
            cards.append(card(f"Second opinions on {each.symbol}", facts_table(facts), caption=caption))
        if each.search is not None:
            cards.append(
                card(
                    f"The best against {each.symbol} held",
                    best_against_market(data.record, each.search),
                    caption="Against as much of the instrument, held all the time. Alone: as if nothing else "
                    "had been tried. The others allow for all trials, step-down also for how they move "
                    "together; a false discovery rate of 0.2 expects one of five to be luck.",
                    classes="wide",
                )
            )
    return cards


def _overfitting_cards(data: ExperimentReport) -> list[Markup]:
    around = neighbourhood(data.record.plan, data.scores, data.winner.variant)
    wide = "wide" if around.nearest else ""
    what = "The nearest sampled runs." if around.nearest else "One step of one parameter away."
    cards = [
        card(
            "Training against test",
            figure_block("gap", figures.train_against_test(data.scores, data.winner.variant, data.by)),
            caption="One point per variant, 2,000 at most. On the dotted line nothing is lost out of sample."
            + (f" Scores are means over {averaged(data.record)}." if averaged(data.record) else ""),
            classes=wide,
        ),
        card(
            "Neighbourhood of the winner",
            neighbours(around, data.by),
            caption=f"{what} A peak without a hill is luck more often than not.",
            classes=wide,
        ),
    ]
    for number, each in enumerate(data.judgement.symbols):
        annual = each.ratios * each.sessions_per_year**0.5
        known = annual.size > 0 and not math.isnan(each.timing_sharpe)
        chance, own = each.maximum.chance, each.timing_sharpe
        drawn = figures.sharpe_ratios(annual, chance, own) if known else None
        cards.append(
            card(
                f"All trials on {each.symbol}",
                figure_block(
                    f"sharpe{number}", drawn, empty="An earlier version kept no timing of its trials."
                ),
                caption="Timing Sharpe ratios: of what the returns have beyond a constant position. The best "
                f"of {each.counted:,} trials without skill is expected at {each.maximum.chance:.2f}.",
            )
        )
        found = each.overfitting.found
        drawn = None if found is None else figures.logits(found)
        cards.append(
            card(
                f"Choosing the best on {each.symbol}",
                figure_block(
                    f"pbo{number}", drawn, empty="One trial, or too few sessions: nothing to divide."
                ),
                caption="History divided into halves in every way: rank of the best of one half in the "
                "other. Left of zero it fell below the median; the share of those is the PBO.",
            )
        )
    return cards


def _parameter_cards(data: ExperimentReport) -> list[Markup]:
    found, plan = data.importance, data.record.plan
    drawn = None if found is None else figures.importance_bars(found)
    caption = (
        ""
        if found is None
        else f"Random forest, which explains {max(0.0, found.explained):.0%} of unseen runs."
    )
    cards = [
        card(
            "Parameter importance",
            figure_block("importance", drawn, empty="Too few runs, or nothing that varies."),
            caption=caption,
            classes="wide",
        )
    ]
    varying = [path for path, values in plan.parameters.items() if len(values) > 1]
    ordered = [path for path in (found.drop if found else varying) if path in varying]
    for number, path in enumerate(ordered):
        winner = spelled(data.winner.parameters[path])
        lines = figures.by_value_lines(by_value(plan, data.scores, path), winner, data.by)
        cards.append(
            card(
                f"{data.by} by {path}",
                figure_block(f"value{number}", lines),
                caption="Median (line), quartiles (band) and best (dotted) over all other parameters.",
            )
        )
    for number, (first, second) in enumerate(
        itertools.islice(itertools.combinations(ordered, 2), _HEAT_MAPS)
    ):
        table = by_pair(plan, data.scores, first, second)
        cards.append(
            card(
                f"{first} and {second}",
                figure_block(f"heat{number}", heat_map(table, data.by)),
                caption=f"Mean test {data.by} over all other parameters: blue above zero, red below.",
            )
        )
    return cards


def _record_cards(data: ExperimentReport) -> list[Markup]:
    searched = data.record.plan.parameters.items()
    values = "\n".join(f"{path}: {json.dumps(list(found))}" for path, found in searched)
    return [
        card(
            "Provenance",
            provenance(data.record, data.judgement),
            caption="What this experiment was computed from.",
        ),
        card("Grid", joined(listing(values), listing(data.record.plan.strategy.to_yaml()))),
    ]
