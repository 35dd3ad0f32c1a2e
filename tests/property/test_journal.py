"""Whatever is written into a journal comes back bit for bit."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.live.events import Event
from lockstep.live.journal import Journal
from lockstep.live.messages import Arrival, Irregularity, LaneState, Release, SetRecord
from lockstep.market.timeframe import DAILY
from support import journals as make
from support.events import any_event
from support.journals import exactly

numbers = st.floats(width=64) | st.sampled_from(
    [-0.0, math.nan, math.inf, -math.inf, 5e-324, -2.2e-308, 5000.0]
)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
integers = st.integers(-(2**63), 2**63 - 1)
plain = st.recursive(
    st.none() | st.booleans() | integers | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
contents = st.dictionaries(texts, plain, max_size=3)
keys = st.sampled_from([make.key("ES"), make.key("NQ"), make.key("ES", DAILY)])
bars = st.tuples(numbers, numbers, numbers, numbers, numbers)
events = any_event()
waiting = st.builds(
    make.WaitingOrder,
    terms=bars,
    decision=integers,
    intent=texts,
    reason=texts,
    probability=numbers,
    order_id=texts,
)
states = st.builds(
    LaneState,
    account=bars,
    waiting=st.none() | waiting,
    trade=st.none() | contents,
    bars_held=integers,
)
_INTEGERS, _NUMBERS = ("reference", "decision", "stamp"), ("quantity", "price", "commission", "slippage")
orders = st.builds(
    make.OrderRecord,
    **dict.fromkeys(("symbol", "intent", "reason", "status"), texts),
    **dict.fromkeys(_INTEGERS, integers),
    **dict.fromkeys(_NUMBERS, numbers),
)


@st.composite
def sets(draw: st.DrawFn, stamp: int) -> SetRecord:
    lanes = []
    for symbol in draw(st.lists(texts, unique=True, max_size=3)):
        changes = {
            "vector": np.array(draw(st.lists(numbers, max_size=4)), dtype="<f8").tobytes(),
            "probability": draw(numbers),
            "mark": tuple(draw(st.tuples(numbers, numbers, numbers, numbers))),
            "state": draw(states),
            "orders": tuple(draw(st.lists(orders, max_size=2))),
            "reason": draw(texts),
        }
        lanes.append(make.lane(symbol, 1, **changes))
    release = Release(
        stamp=stamp,
        bars=draw(st.dictionaries(keys, bars, max_size=3)),
        late=tuple(draw(st.lists(st.builds(Arrival, keys, integers, bars, integers, texts), max_size=2))),
        irregularities=tuple(
            draw(
                st.lists(st.builds(Irregularity, texts, keys, integers, st.none() | bars, texts), max_size=2)
            )
        ),
    )
    return SetRecord(release=release, lanes=tuple(lanes), events=tuple(draw(st.lists(events, max_size=2))))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_is_written_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "live.db"
    written: list[SetRecord | Event] = []
    with Journal.open(path) as journal:
        journal.begin_epoch(make.epoch(states={"ES": data.draw(states)}))
        for number in range(data.draw(st.integers(1, 3))):
            written.append(data.draw(sets(number)))
            journal.append_set(written[-1])
            written.append(data.draw(events))
            journal.append(written[-1])
        assert [exactly(each) for each in journal.entries(1)] == [exactly(each) for each in written]
        assert journal.verify() == []


def test_equality_in_these_tests_can_tell_zeros_apart() -> None:
    assert exactly(make.bar_set(1)) == exactly(dataclasses.replace(make.bar_set(1), sequence=4))
    one, other = (make.lane("ES", 1, probability=each) for each in (0.0, -0.0))
    assert one == other
    assert exactly(one) != exactly(other)
