"""Market data: bars, instruments and their costs, sessions, file formats, the one aggregator."""

from lockstep.market.bars import Bars
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.history import BarSet, History, Market, SeriesKey
from lockstep.market.instrument import Instrument
from lockstep.market.sessions import Session
from lockstep.market.timeframe import DAILY, Timeframe

__all__ = [
    "DAILY",
    "BarSet",
    "Bars",
    "History",
    "Instrument",
    "InstrumentBook",
    "Market",
    "SeriesKey",
    "Session",
    "Timeframe",
    "load_instruments",
]
