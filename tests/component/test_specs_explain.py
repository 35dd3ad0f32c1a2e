"""What a spec is said to do, and in what two are said to differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.family import strategy_of
from research.specs.check import require_spec
from research.specs.differences import compare_specs
from research.specs.explain import explain
from research.specs.ids import meaning
from research.specs.tables import FREQUENCY_HEAD, frequency_rows
from support.drawn_specs import rows_of
from support.reports import Page

WHOLE: dict[str, Any] = {
    "name": "everything",
    "timeframe": "1h",
    "score": [{"id": "ibs", "weight": -1}, {"id": "ret_1%252", "weight": 0.5}],
    "long_entry": {
        "all": [
            {"id": "rsi_2", "below": 10},
            {"any": [{"id": "score", "above": 0.2}, {"not": {"id": "month", "between": [5, 10]}}]},
        ]
    },
    "short_entry": {"all": [{"id": "rsi_2", "above": 90}, {"id": "month_end_1", "equals": 1}]},
    "long_exit": {"id": "rsi_2", "above": "rsi_14"},
    "filters": [{"feature": "atr_pctile_14_252", "min": 0.2, "side": "long"}],
    "veto": {"id": "volume_pctile_20", "at_least": 0.3},
    "window": {"start": "10:00", "end": "15:00"},
    "auto_close": "16:00",
    "max_bars": 8,
    "stop": {"percent": 1.5},
    "target": {"atr": 3},
    "size": {"kind": "volatility", "target": 0.07, "feature": "realised_vol_20_252@1d"},
    "features": ["hour", "rsi_2"],
}
SIZE = (
    "It trades as many contracts as make the yearly volatility of the position, by realised_vol_20_252@1d, "
    "7% of $100,000."
)
SAID = f"""\
everything decides at the close of every hourly bar.
Its score is -1 × ibs + 0.5 × ret_1%252.
While it holds nothing, it buys at the next bar's open when all of these hold:
  - rsi_2 is below 10
  - at least one of these:
    - score is above 0.2
    - month is below 5 or above 10
While it holds nothing, it sells short at the next bar's open when rsi_2 is above 90 and month_end_1 is 1.
Where both would be true at one bar, it does neither.
Entries are taken only at bars that end from 10:00 to 15:00, in the exchange's time.
It goes long only while atr_pctile_14_252 is at least 0.2.
An entry is vetoed unless volume_pctile_20 is at least 0.3.
A long position is sold at the next bar's open when rsi_2 is above rsi_14.
At the latest a position is closed after 8 bars, that of the entry included, or at 16:00 exchange time.
A stop works from the entry's fill on, 1.5% of its price away from it.
A target works from the entry's fill on, 3 times atr_14 away from it.
{SIZE}
A bar on which a value is missing is not entered; an exit is judged by the values that are there.
It also records hour, which decides nothing."""


def spec(**content: Any) -> RulesConfig:
    return require_spec(
        strategy_of({"family": "rules", "name": "x", "max_bars": 5, **content}, where="x"), "x"
    )


def test_all_that_a_spec_can_say_is_said() -> None:
    assert explain(spec(**WHOLE)).text == SAID


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"timeframe": "15min", "window": None}, "x decides at the close of every 15-minute bar."),
        ({"execution": "close"}, "While it holds nothing, it buys at that close when ibs is below 0.2."),
        ({"max_bars": 1}, "At the latest a position is closed after its first bar."),
        (
            {"size": {"kind": "risk", "risk": 0.01}},
            "It trades as many contracts as make a move of atr_14 points worth 1% of $100,000.",
        ),
        ({"size": {"contracts": 2.5}}, "It trades 2.5 contracts."),
        (
            {"size": {"contracts": 4, "by_regime": {"bear": 0.5, "high_volatility": 0}}},
            "It trades 4 contracts; of that 50% in a bear market, 0% at high volatility, by "
            "regime_200_0.5_14_252_0.8.",
        ),
        (
            {"size": {"kind": "risk", "risk": 0.01, "by_regime": {"sideways": 0.25}}},
            "It trades as many contracts as make a move of atr_14 points worth 1% of $100,000; of that 25% "
            "in a sideways market, by regime_200_0.5_14_252_0.8.",
        ),
        ({}, "It trades 1 contract."),
        ({}, "There is no protective stop."),
        (
            {"long_entry": {"any": [{"id": "ibs", "below": 0.2}, {"id": "rsi_2", "at_most": 5}]}},
            "While it holds nothing, it buys at the next bar's open when ibs is below 0.2 or rsi_2 is at "
            "most 5.",
        ),
        ({"max_age": {"bars": 0, "days": 9}}, "A value of another series may be 0 bars or 9 days old."),
    ],
)
def test_each_choice_has_its_sentence(changes: dict[str, Any], sentence: str) -> None:
    content = {"long_entry": {"id": "ibs", "below": 0.2}, **changes}
    assert sentence in explain(spec(**content)).text.splitlines()


@pytest.mark.parametrize(
    ("feature_id", "expected"),
    [
        ("ibs", "Internal bar strength: (close - low) / (high - low)."),
        ("month_end_3", "1 on the last 3 sessions of a month, by the exchange's calendar, else 0."),
        (
            "ret_5~2@NQ:1d",
            "Simple return over 5 bars: close / earlier close - 1 (of NQ, on 1d bars, 2 bars earlier).",
        ),
        (
            "atr_14%252",
            "The share of its 252 earlier values that lie below it, of: Average true range in points, "
            "Wilder's smoothing: what stops and position sizes are measured in (period 14).",
        ),
        ("ibs*volume_pctile_20", "The product of ibs and volume_pctile_20."),
    ],
)
def test_ids_are_explained_by_the_registry(feature_id: str, expected: str) -> None:
    assert meaning(feature_id) == expected


def test_frequencies_stand_beside_the_conditions() -> None:
    config = spec(
        long_entry={"all": [{"id": "ibs", "below": 0.2}, {"id": "rsi_2", "below": 50}]},
        short_entry={"id": "ibs", "below": 0.15},
    )
    ibs, rsi = np.tile([0.1, 0.18, 0.9, np.nan], 5), np.tile([60.0, 20.0, 20.0, 20.0], 5)
    found = explain(config, rows_of(config, {"ibs": ibs, "rsi_2": rsi}))
    assert found.frequencies is not None
    assert frequency_rows(found.frequencies) == [
        ("long_entry", "all of these:", "5", "15", "33.3%", "2010-01-05", "2010-01-28"),
        ("", "  ibs is below 0.2", "10", "15", "66.7%", "2010-01-04", "2010-01-28"),
        ("", "  rsi_2 is below 50", "15", "20", "75.0%", "2010-01-05", "2010-02-01"),
        ("short_entry", "ibs is below 0.15", "5", "15", "33.3%", "2010-01-04", "2010-01-27"),
        ("while flat", "enters long", "5", "20", "25.0%", "2010-01-05", "2010-01-28"),
        ("while flat", "enters short", "5", "20", "25.0%", "2010-01-04", "2010-01-27"),
    ]
    page = Page(found._repr_html_())
    assert "While it holds nothing, it buys" in page.text
    assert all(each in page.text for each in (*FREQUENCY_HEAD, "rsi_2 is below 50", "75.0%"))


def test_two_spellings_are_one_meaning() -> None:
    first = spec(name="a", long_entry={"all": [{"id": "ibs", "below": 0.2}, {"id": "rsi_2", "below": 50}]})
    inner = {"any": [{"id": "rsi_2", "at_least": 50}, {"not": {"id": "ibs", "below": 0.2}}]}
    second = spec(name="b", long_entry={"not": inner})
    columns = {"ibs": np.tile([0.1, 0.3, 0.15], 20), "rsi_2": np.tile([20.0, 20.0, 80.0, np.nan], 15)}
    found = compare_specs(first, second, (rows_of(first, columns), rows_of(second, columns)))
    assert found.same_meaning
    assert [each.field for each in found.fields] == ["name"]
    assert found.conditions["long_entry"] == (
        (" ", "all of these:"), ("+", "  rsi_2 is below 50"), (" ", "  ibs is below 0.2"),
        ("-", "  rsi_2 is below 50"),
    )  # fmt: skip
    assert found.signals is not None
    assert [(each.signal, each.first, each.differ) for each in found.signals] == [
        ("long_entry", 20, 0), ("enters long while flat", 20, 0),
    ]  # fmt: skip


def test_what_differs_is_aligned_and_counted() -> None:
    first = spec(long_entry={"id": "ibs", "below": 0.2}, long_exit={"id": "ibs", "above": 0.8})
    second = spec(
        long_entry={"id": "ibs", "below": 0.3}, long_exit={"id": "ibs", "above": 0.8}, stop={"percent": 2},
        short_entry={"id": "ibs", "above": 0.9},
    )  # fmt: skip
    columns = {"ibs": np.tile([0.1, 0.25, 0.95, 0.5], 5)}
    found = compare_specs(first, second, (rows_of(first, columns), rows_of(second, columns)))
    assert not found.same_meaning
    assert [(each.field, each.first, each.second) for each in found.fields] == [
        ("stop", "null", "{percent: 2.0, feature: 'atr_14'}")
    ]
    assert found.conditions == {
        "long_entry": (("-", "ibs is below 0.2"), ("+", "ibs is below 0.3")),
        "short_entry": (("+", "ibs is above 0.9"),),
    }
    assert found.signals is not None
    assert [(each.signal, each.first, each.second, each.differ) for each in found.signals] == [
        ("long_entry", 5, 10, 5),
        ("long_exit", 5, 5, 0),
        ("short_entry", 0, 5, 5),
        ("enters long while flat", 5, 10, 5),
        ("enters short while flat", 0, 5, 5),
    ]
    assert str(found.signals[0].first_day) == "2010-01-05"


def test_signals_are_not_compared_without_bars() -> None:
    first = spec(long_entry={"id": "ibs", "below": 0.2})
    found = compare_specs(first, first, None, "there are no bars")
    assert (found.signals, found.unlike, found.conditions, found.fields) == (
        None,
        "there are no bars",
        {},
        (),
    )
