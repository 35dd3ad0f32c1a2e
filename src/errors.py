"""Every error that Lockstep raises on purpose.

    LockstepError
    ├── ConfigError          a configuration file or value is wrong
    ├── DataError            input data cannot be used as it is
    │   ├── BadBars          a row breaks a rule of `Bars`; names file, line, value and rule
    │   ├── NoBars           there is no bar in the range that was asked for
    │   ├── SourceChanged    a file changed while it was read
    │   └── CalendarError    the trading calendar does not cover what was asked
    ├── CodeError            which code this is cannot be told
    ├── FloatModeError       the processor does not compute as every other run does
    ├── FeatureError         a feature declaration or its use is wrong
    │   └── UnknownFeature   an id that no registered feature answers to
    ├── StrategyError        an engine was assembled or used against its rules
    ├── LookaheadError       a value before a cut in history depends on what follows the cut
    ├── TrainingError        a model cannot be trained as configured
    ├── ModelError           a bundle, the manifest or a verb on them is refused
    ├── LiveError            the live engine refuses to start or to go on
    │   ├── EngineFault      something that it works with failed: a disk, a feed, a thread
    │   └── JournalError     the journal cannot be read, written or replayed
    │       └── JournalFault   (also an EngineFault) the disk refused, or another program is in the way
    └── ParityError          research and live came apart, or cannot be compared

A message names the thing, the value, the rule and what to do next, on one line: the command line
prints it as it is and exits with code 2: doing the same again would be refused again. An EngineFault
exits with code 75: the same may well work a moment later.
"""

from __future__ import annotations


class LockstepError(Exception):
    """Root of the tree; catching it catches every refusal and no programming mistake.

    `hint` is a text of several lines, such as a file that would be right; the command line prints it as it is
    below the line of the error.
    """

    hint: str = ""


class ConfigError(LockstepError):
    """A configuration file or value is wrong."""


class DataError(LockstepError):
    """Input data cannot be used as it is."""


class BadBars(DataError):
    """A row of market data breaks a rule.

    `source` is the file (or the name of the series), `line` its 1-based line number in the file, or
    None where there is no file; `value` is what stood there and `rule` what should have.
    """

    def __init__(self, *, source: str, line: int | None, value: object, rule: str) -> None:
        self.source = source
        self.line = line
        self.value = value
        self.rule = rule
        where = source if line is None else f"{source}:{line}"
        super().__init__(f"{where}: {value}: {rule}")


class NoBars(DataError):
    """There is no bar in the range that was asked for."""


class SourceChanged(DataError):
    """A file changed while it was read."""


class CalendarError(DataError):
    """The trading calendar does not cover what was asked."""


class CodeError(LockstepError):
    """Which code this is cannot be told: a module is missing, or a name in it cannot be resolved."""


class FloatModeError(LockstepError):
    """The processor does not compute as every other run does: denormals are dropped, or rounding differs."""


class FeatureError(LockstepError):
    """A feature declaration or its use is wrong."""


class UnknownFeature(FeatureError):
    """An id that no registered feature answers to."""


class StrategyError(LockstepError):
    """An engine was assembled or used against its rules."""


class LookaheadError(LockstepError):
    """A value before a cut in history depends on what follows the cut."""


class TrainingError(LockstepError):
    """A model cannot be trained as configured."""


class ModelError(LockstepError):
    """A bundle, the manifest or a verb on them is refused."""


class LiveError(LockstepError):
    """The live engine refuses to start or to go on."""


class EngineFault(LiveError):
    """Something that the live engine works with failed; a restart may help."""


class JournalError(LiveError):
    """The journal cannot be read, written or replayed."""


class JournalFault(JournalError, EngineFault):
    """The disk refused the journal, or another program is in the way."""


class ParityError(LockstepError):
    """Research and live came apart, or cannot be compared."""
