"""How an epoch begins: the first of a journal, and the one after a deliberate change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from lockstep import identity
from lockstep.compiled import machine
from lockstep.errors import JournalError, LiveError
from lockstep.features.feature_registry import default_registry
from lockstep.live.config import LiveConfig
from lockstep.live.events import OrderSent, RolloutMoved
from lockstep.live.journal import Journal
from lockstep.live.journal.continuation import continued
from lockstep.live.messages import Epoch, LaneState, Mode
from lockstep.live.outside import require_wanted, version_with, wanted_versions
from lockstep.live.portfolio import HASH as PORTFOLIO
from lockstep.live.portfolio import begun_with, ended_with, require_tradable
from lockstep.live.risk.rollout import RolloutStage, RolloutStep, require_sizes, stage
from lockstep.live.traded import TradedModel, usual_trades
from lockstep.live.units import OutwardUnits, SmallerUnit, opened_in
from lockstep.live.warmup import WarmUp, first_windows, settled_bars, warm_up
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.models.evidence import CERTIFICATE, MACHINE
from lockstep.models.manifest import Manifest
from lockstep.models.store import ModelStore, load_bundle
from lockstep.settings import read_yaml
from lockstep.strategy.matching import POSITION


def needs_of(models: Mapping[str, TradedModel], book: InstrumentBook) -> dict[SeriesKey, int]:
    """Return, per series that any model reads, the longest window in bars."""
    needs: dict[SeriesKey, int] = {}
    for model in models.values():
        for key, bars in model.needs(book.markets).items():
            needs[key] = max(bars, needs.get(key, 0))
    return needs


def live_hashes(config: Path) -> dict[str, str]:
    """Return what an epoch is begun with, which every start compares; ConfigError for a wrong live.yml.

    code      that decides (`identity.DECIDING`); `feed KIND`, `broker KIND`: of each that live.yml uses
    portfolio   of the portfolio's file, where there is one
    config    of the content of live.yml: comments and layout do not count. Strategy configurations are hashed
              in the bundles
    library NAME   version; machine   as of `compiled.machine`
    """
    used = LiveConfig.load(config)
    plugs = {f"feed {each.kind}": type(each).__module__ for each in used.feeds}
    if used.broker is not None:
        plugs[f"broker {used.broker.kind}"] = type(used.broker).__module__
    return {
        "code": identity.code_hash(identity.DECIDING),
        "config": identity.json_digest(read_yaml(config), default=str),
        "machine": machine(),
        **({} if (traded := used.traded_portfolio()) is None else {PORTFOLIO: traded.portfolio_hash}),
        **{f"library {name}": version for name, version in identity.library_versions().items()},
        **{name: identity.plug_hash(module) for name, module in plugs.items()},
    }


def require_machine(manifest: Manifest, bundles: Mapping[str, str]) -> Iterator[str]:
    """Refuse to trade bundles, by symbol, with money on another machine than they were certified on.

    Yields, one sentence each, of which bundles that cannot be told: those that were promoted without a
    certificate, or with one that an earlier version issued. LiveError for a certificate of another machine.
    """
    for symbol, sha256 in bundles.items():
        traded = traded_symbol(symbol)
        entry = manifest.entry(traded, version_with(manifest, traded, sha256))
        issued = [each for each in entry.evidence if each.kind == CERTIFICATE and each.passed]
        there = issued[-1].hashes.get(MACHINE) if issued else None
        what = f"{symbol} {sha256[:12]}"
        if there is None:
            yield f"{what}: no certificate says on which machine it was issued; certify it on this one"
        elif there != machine():
            raise LiveError(
                f"{what}: was certified on another machine, {there}, this is {machine()}: its bits need not "
                "be the same here; certify it on this machine"
            )


def require_same(epoch: Epoch, hashes: Mapping[str, str], mode: Mode) -> None:
    """Raise JournalError where an epoch was begun in another mode, or with another of these hashes.

    An epoch of an earlier version, whose code hash cannot tell whether what decides has changed, is refused.
    """
    changed = [name for name in hashes if epoch.hashes.get(name) != hashes[name]]
    if "code" in changed and (word := identity.only_proves(epoch.hashes.get("code", ""))):
        raise JournalError(
            f"epoch {epoch.number} of the journal was begun by an earlier version: {word}; its decisions can "
            "be verified and replayed (lockstep certify --journal); to trade on, begin a new epoch: "
            "lockstep journal new-epoch --reason ..."
        )
    if epoch.mode != mode:
        changed.append("mode")
    if changed:
        raise JournalError(
            f"{' and '.join(changed)} changed since epoch {epoch.number} of the journal was begun; if that "
            "is meant, begin a new one: lockstep journal new-epoch --reason ..."
        )


def declared_hashes(
    models: Mapping[str, TradedModel], keys: Iterable[SeriesKey], config: LiveConfig, book: InstrumentBook
) -> dict[str, str]:
    """Return `instruments`, of what is declared of everything that is traded and read, and `feature ID`.

    A feature counts by the fingerprint of its code here: the bundle's may be of other code with equal values.

    keys   series that its models read. Of the sources count those that feeds read by and, for a replay, those
           of its history: other feeds deliver bars, and what warmed up an epoch is in the journal
    """
    units = config.rollout.smaller_units(config.versions, book)
    symbols = sorted({*(key.symbol for key in keys), *units})
    sources = {source for feed in config.feeds for source in feed.sources()}
    if config.replay is not None:
        sources |= set(book.sources_of(symbols, config.history.data_dir, config.history.source))
    ids = sorted({each for model in models.values() for each in model.plan.ids})
    features = {f"feature {each}": default_registry().fingerprint(each) for each in ids}
    return {"instruments": book.digest(symbols, sources), **features}


def bound(
    epoch: Epoch, models: Mapping[str, TradedModel], needs: Mapping[SeriesKey, int], config: LiveConfig,
    book: InstrumentBook,
) -> Epoch:  # fmt: skip
    """Return an epoch with the hashes of its instruments and features; JournalError where they were others.

    An epoch that an earlier version began does not record them: then there is nothing to compare.
    """
    declared = declared_hashes(models, needs, config, book)
    if not epoch.number:
        return replace(epoch, hashes={**epoch.hashes, **declared})
    require_same(epoch, {name: declared[name] for name in declared.keys() & epoch.hashes.keys()}, epoch.mode)
    return epoch


def first_epoch(
    config: LiveConfig, store: ModelStore, *, mode: Mode, hashes: Mapping[str, str], now: int
) -> Epoch:
    """Return the first epoch, numbered 0 and with empty windows; LiveError where a version is missing."""
    wanted = require_wanted(store.manifest(), config.versions, store.folder)
    return Epoch(
        number=0,
        mode=mode,
        reason="first start",
        started=now,
        hashes=hashes,
        bundles={symbol: each.sha256 for symbol, each in wanted.items()},
        warmup={},
        states={},
    )


def warmed(
    epoch: Epoch, models: Mapping[str, TradedModel], needs: Mapping[SeriesKey, int], settled: History,
    config: LiveConfig,
) -> tuple[Epoch, str]:  # fmt: skip
    """Return a first epoch with its windows filled from settled files, and which of them are not full."""
    windows = first_windows(needs, settled, config, [model.key for model in models.values()])
    return replace(epoch, warmup=windows.bars), windows.sentence


def successor(
    journal: Journal, config: LiveConfig, *, hashes: Mapping[str, str], reason: str, now: int,
    mode: Mode | None = None,
) -> tuple[Epoch, str]:  # fmt: skip
    """Return the epoch that goes on from the newest one, and which of its windows are not full.

    It trades the instruments of `live.yml`. One that is flat, with no order waiting, begins with the version
    that is wanted now, whatever series that one reads; one in a position keeps its version, which a running
    engine hands over. Windows hold the journal's bars; those of a series that it lacks come from the files.

    Raises: what `continued` does; LiveError for an instrument that left live.yml with a position, whose
    position is in a unit that left the roll-out, or that has no version; ModelError for a bundle that is
    gone.
    """
    epoch = continued(journal, reason=reason, now=now, hashes=hashes, mode=mode)
    config.require_mode(epoch.mode)
    store = ModelStore(config.store)
    _require_flat(epoch, config)
    book = load_instruments()
    units = config.rollout.smaller_units(config.versions, book)
    left = OutwardUnits(known=units, opened=opened_in(journal.events(OrderSent), epoch.mode))
    left.require_known(symbol for symbol, state in epoch.states.items() if not _is_flat(state))
    bundles = _bundles(epoch, config, store)
    manifest = store.manifest()
    models = {
        lane: TradedModel.of(load_bundle(symbol, version_with(manifest, symbol, sha), store=store))
        for lane, sha in bundles.items()
        for symbol in (traded_symbol(lane),)
    }
    needs = needs_of(models, book)
    windows = _windows(journal, epoch, needs, config, book)
    if epoch.mode == "live":
        index, _ = stage(config.rollout, [RolloutStep.of(event) for event in journal.events(RolloutMoved)])
        trades = usual_trades(models, book.markets, windows.bars)
        require_sizes(config.rollout, index, trades, units)
    states = {symbol: state for symbol, state in epoch.states.items() if symbol in bundles}
    bindings = {**hashes, **declared_hashes(models, needs, config, book)}
    begun = replace(epoch, hashes=bindings, bundles=bundles, states=states, warmup=windows.bars)
    portfolio = config.traded_portfolio(book)
    if portfolio is not None:
        require_tradable(config.limits, portfolio, models, book.markets_with(models))
        gone = {symbol: state for symbol, state in epoch.states.items() if symbol not in bundles}
        before = ended_with(journal, journal.newest_epoch())
        begun = begun_with(begun, portfolio, models, book.markets_with(models), before, gone)
    return begun, windows.sentence


def stage_of(epoch: Epoch, journal: Journal, config: LiveConfig) -> RolloutStage:
    """Return the stage of the roll-out at which an epoch began; its own steps are replayed."""
    first = journal.first_entry(epoch.number)
    before = [RolloutStep.of(event) for event in journal.events(RolloutMoved) if event.sequence < first]
    return stage(config.rollout, before)[1]


def units_of(
    epoch: Epoch, journal: Journal, began: RolloutStage, known: Mapping[str, SmallerUnit]
) -> OutwardUnits:
    """Return the units in which orders leave as an epoch began at a stage; its own orders are replayed."""
    first = journal.first_entry(epoch.number)
    before = (event for event in journal.events(OrderSent) if event.sequence < first)
    return OutwardUnits(known=known, stage=began.units, opened=opened_in(before, epoch.mode))


def _is_flat(state: LaneState | None) -> bool:
    return state is None or (state.account[POSITION] == 0.0 and state.waiting is None)


def _require_flat(epoch: Epoch, config: LiveConfig) -> None:
    for symbol in epoch.bundles.keys() - config.versions.keys():
        if not _is_flat(epoch.states.get(symbol)):
            raise LiveError(
                f"{symbol}: has a position or an order waiting and is not in live.yml any more; keep it "
                "there until it is flat"
            )


def _bundles(epoch: Epoch, config: LiveConfig, store: ModelStore) -> dict[str, str]:
    """Return the bundle of each instrument of the configuration."""
    manifest = store.manifest()
    fresh = {symbol: version for symbol, version in config.versions.items() if symbol not in epoch.bundles}
    require_wanted(manifest, {**config.pins, **fresh}, store.folder)
    found = {}
    for symbol, wanted in wanted_versions(manifest, config.versions).items():
        free = not wanted.absence and _is_flat(epoch.states.get(symbol))
        found[symbol] = wanted.sha256 if free else epoch.bundles[symbol]
    return found


def _windows(
    journal: Journal, epoch: Epoch, needs: Mapping[SeriesKey, int], config: LiveConfig, book: InstrumentBook
) -> WarmUp:
    """Return the bars of every series that is read: as many as before, or as the new models need."""
    counts = {key: max(needed, len(epoch.warmup.get(key, ()))) for key, needed in needs.items()}
    counts |= {key: max(counts[key], config.memory_bars) for key in needs if key not in epoch.warmup}
    journaled = {key: journal.bars(key, limit=count) for key, count in counts.items()}
    lacking = sorted(key for key, needed in needs.items() if len(journaled[key]) < needed)
    settled = settled_bars(lacking, config.history, book) if lacking else History(bars={}, markets={})
    until = max(journal.last_stamps().values(), default=0)
    found = warm_up(counts, settled.bars, journaled, until=until)
    short = {key: (len(found.bars[key]), needs[key]) for key in needs if len(found.bars[key]) < needs[key]}
    return WarmUp(bars=found.bars, differences=found.differences, short=short)
