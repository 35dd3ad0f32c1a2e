"""Every error that Lockstep raises on purpose.

    LockstepError
    ├── ConfigError              a configuration file or value is wrong
    │   └── ClusterError         the machines that were to do the work cannot be reached, or died with it
    ├── DataError                input data cannot be used as it is
    │   ├── BadBars              a row of market data breaks a rule
    │   ├── NoBars               there is no bar in the range that was asked for
    │   ├── SourceChanged        a file changed while it was read
    │   ├── PoorData             a series has a lower quality than was asked for
    │   ├── NoReference          outcomes of validation give a monitored stream nothing to be held to
    │   └── CalendarError        the trading calendar does not cover what was asked
    ├── CodeError                which code this is cannot be determined
    ├── FloatModeError           the processor does not compute as every other run does
    ├── FeatureError             a feature declaration or its use is wrong
    │   └── UnknownFeature       an id that no registered feature answers to
    ├── StrategyError            an engine was assembled or used against its rules
    ├── LookaheadError           a value before a cut in history depends on what follows the cut
    ├── TrainingError            a model cannot be trained as configured
    ├── ModelError               a bundle, the manifest or a verb on them is refused
    │   ├── UnfitBundle          a bundle that must not be saved
    │   ├── StoreFailure         the store could not be written, or is locked by another process
    │   ├── ManifestError        the manifest or the policy cannot be read
    │   │   └── ManifestEdited   the content of the manifest is not what the verbs wrote
    │   ├── UnknownModel         no such instrument, model name, version or production pointer
    │   ├── BundleRefused        a bundle that must not be used
    │   │   ├── BundleMissing    the file is not there
    │   │   ├── LfsPointer       the file is a Git LFS pointer, not the bundle
    │   │   ├── TruncatedBundle  the file is shorter or longer than what was registered
    │   │   ├── HashMismatch     the file is not the one that was registered
    │   │   ├── ForeignPickle    the file is no bundle, or holds what a bundle may not hold
    │   │   ├── NewerSchema      the file was written by a newer Lockstep
    │   │   ├── WrongSymbol      the bundle is for another instrument
    │   │   ├── LibraryMismatch  the pipeline was fitted with other libraries
    │   │   ├── FeaturesChanged  a feature has different values than in training
    │   │   └── GoldenMismatch   golden vectors do not come out as recorded
    │   └── VerbRefused          a promotion, rollback or retirement that the rules do not allow
    │       └── EvidenceMissing  the policy asks for evidence that is not there
    ├── LiveError                the live engine refuses to start or to go on
    │   ├── EngineFault          something that the engine works with failed: a disk, a feed, a thread
    │   ├── BackupError          a backup set cannot be made, is not whole, or cannot be restored
    │   ├── JournalError         the journal cannot be read, written or replayed
    │   │   ├── JournalFault     (an EngineFault, too) the disk refused, or another program is in the way
    │   │   └── ReplayMismatch   the engine does not reproduce its journal; `difference` is the first one
    │   ├── FeedError            a feed cannot start or go on
    │   ├── InboxClosed          the engine stopped reading
    │   └── InboxFull            no room within the time given
    ├── MonitorError             a desk cannot be watched as configured, or its monitor is in the way
    │   └── MonitorAtWork        another process is the monitor of this database
    ├── RetrainingError          a retraining cannot begin or go on, or its book was changed
    │   └── RetrainingAtWork     another process takes the steps of this book
    ├── PipelineError            a night cannot begin, a step of it failed, or the clock went back
    ├── AgentError               a session of research agents cannot be run, resumed or shown as asked for
    │   ├── NoProposal           a researcher came to nothing that could be a proposal; the next may be one
    │   └── BudgetSpent          what a researcher may spend is spent: the session ends with what it has
    ├── ParityError              research and live came apart, or cannot be compared
    ├── ExperimentError          an experiment cannot be run, found or shown as it was asked for
    │   ├── EngineMismatch       a compiled loop and Backtrader disagree
    │   ├── PromotionRefused     a winner does not keep to the limits of its experiment
    │   └── ForeignGrid          a grid file is written as another tool wants it
    └── AlertFailed              a sink could not take an alert

A message names the thing, the value, the rule and what to do next, on one line: the command line prints it as
it is and exits with code 2, since doing the same again would be refused again. An EngineFault exits with
code 75: the same may well work a moment later.
"""

from __future__ import annotations

from typing import Any


class LockstepError(Exception):
    """Root of the error tree: catches every refusal, and no bug.

    `hint` is a text of several lines, such as a corrected file; the command line prints it unchanged
    below the error's line.

    >>> from lockstep import load_bars
    >>> try:
    ...     load_bars("COMPP")
    ... except LockstepError as refusal:
    ...     print(type(refusal).__name__)
    ConfigError
    """

    hint: str = ""


class ConfigError(LockstepError):
    """A configuration file or value is wrong."""


class ClusterError(ConfigError):
    """The machines that were to do the work cannot be reached, or died with it."""


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


class PoorData(DataError):
    """A series has a lower quality than a configuration asks for."""


class NoReference(DataError):
    """Outcomes of validation give a monitored stream nothing to be held to."""


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


class BackupError(LiveError):
    """A backup set cannot be made, is not whole, or cannot be restored."""


class JournalError(LiveError):
    """The journal cannot be read, written or replayed."""


class JournalFault(JournalError, EngineFault):
    """The disk refused the journal, or another program is in the way."""


class ReplayMismatch(JournalError):
    """The engine does not reproduce its journal; `difference` is the first one."""

    def __init__(self, difference: Any) -> None:
        self.difference = difference
        super().__init__(
            f"replay of the journal: {difference}; nothing is traded. If code or configuration changed on "
            "purpose, begin a new epoch: lockstep journal new-epoch --reason ..."
        )


class MonitorError(LockstepError):
    """A desk cannot be watched as configured, or another monitor is in the way."""


class MonitorAtWork(MonitorError):
    """Another process is the monitor of this database."""


class RetrainingError(LockstepError):
    """A retraining cannot begin or go on, or its book is not what was written."""


class RetrainingAtWork(RetrainingError):
    """Another process takes the steps of this book."""


class PipelineError(LockstepError):
    """A night of the pipeline cannot begin, or one of its steps failed."""


class AgentError(LockstepError):
    """A session of research agents cannot be run, resumed or shown as asked for."""


class NoProposal(AgentError):
    """A researcher came to nothing that could be a proposal; the session goes on with the next one."""


class BudgetSpent(AgentError):
    """What a researcher may spend is spent: the session ends in order, with what it has."""


class ParityError(LockstepError):
    """Research and live came apart, or cannot be compared."""


class ExperimentError(LockstepError):
    """An experiment cannot be run, found or shown as it was asked for."""


class EngineMismatch(ExperimentError):
    """A compiled loop and Backtrader disagree: no number of the sweep or the run can be believed."""


class PromotionRefused(ExperimentError):
    """A winner does not keep to the limits of its experiment; `short` is the verdict and its one reason."""

    def __init__(self, message: str, *, short: str = "") -> None:
        self.short = short or message
        super().__init__(message)


class ForeignGrid(ExperimentError):
    """A grid file is written as another tool wants it; `hint` is the right block, ready to paste."""

    def __init__(self, message: str, *, hint: str) -> None:
        self.hint = hint
        super().__init__(message)


class FeedError(LiveError):
    """A feed cannot start or go on."""


class InboxClosed(LiveError):
    """The engine stopped reading."""


class InboxFull(LiveError):
    """No room within the time given."""


class UnfitBundle(ModelError):
    """A bundle that must not be saved."""


class StoreFailure(ModelError):
    """The store could not be written, or is locked by another process."""


class ManifestError(ModelError):
    """The manifest or the policy cannot be read."""


class ManifestEdited(ManifestError):
    """The content of the manifest is not what the verbs wrote."""


class UnknownModel(ModelError):
    """No such instrument, model name, version or production pointer."""


class BundleRefused(ModelError):
    """A bundle that must not be used."""


class BundleMissing(BundleRefused):
    """The file is not there."""


class LfsPointer(BundleRefused):
    """The file is a Git LFS pointer, not the bundle."""


class TruncatedBundle(BundleRefused):
    """The file is shorter or longer than what was registered."""


class HashMismatch(BundleRefused):
    """The file is not the one that was registered."""


class ForeignPickle(BundleRefused):
    """The file is no bundle, or holds what a bundle may not hold."""


class NewerSchema(BundleRefused):
    """The file was written by a newer Lockstep."""


class WrongSymbol(BundleRefused):
    """The bundle is for another instrument."""


class LibraryMismatch(BundleRefused):
    """The pipeline was fitted with other libraries."""


class FeaturesChanged(BundleRefused):
    """A feature has different values than in training."""


class GoldenMismatch(BundleRefused):
    """Golden vectors do not come out as recorded."""


class VerbRefused(ModelError):
    """A promotion, rollback or retirement that the rules do not allow."""


class EvidenceMissing(VerbRefused):
    """The policy asks for evidence that is not there."""


class AlertFailed(LockstepError):
    """A sink could not take an alert.

    `retry_after` is the number of seconds after which one more attempt is welcome, or None. `perhaps`: it may
    have arrived all the same, since the answer was lost and not the alert.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None, perhaps: bool = False) -> None:
        self.retry_after = retry_after
        self.perhaps = perhaps
        super().__init__(reason)
