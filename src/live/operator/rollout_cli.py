"""Commands on the roll-out: `show`, `advance`, `step-back`. A step is posted; the engine journals it."""

from __future__ import annotations

import json as json_
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lockstep.errors import LiveError
from lockstep.live.epochs import needs_of
from lockstep.live.journal import Journal
from lockstep.live.messages import Wanted
from lockstep.live.operator.commands import RolloutCommand
from lockstep.live.operator.desk import OperatorDesk
from lockstep.live.operator.journal_cli import iso
from lockstep.live.outside import wanted_versions
from lockstep.live.risk import rollout
from lockstep.live.risk.rollout import PaperVerdict, RolloutStep, Trades
from lockstep.live.traded import TradedModel, usual_trades
from lockstep.market.command_line import App, LiveFile
from lockstep.market.config import load_instruments
from lockstep.market.instrument import traded_symbol
from lockstep.market.schedule import DAY
from lockstep.models.command_line import Store
from lockstep.models.manifest import VETO, Manifest
from lockstep.models.store import ModelStore, load_bundle
from lockstep.monitoring.evidence import DIGEST, read_sealed

COMPARISON, SCHEMA = "paper comparison", 1
_MOVES = frozenset(("promote", "rollback"))
Why = Annotated[str, typer.Option(help="Reason and person; recorded in the journal.")]

app = App(no_args_is_help=True)


@app.command()
def show(
    config: LiveFile,
    store: Store = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the current stage, the next one with its first day, and every recorded step."""
    desk = OperatorDesk.read(config)
    told = summary(desk, manifest_of(desk, store), now=time.time_ns())
    if json:
        typer.echo(json_.dumps(told, indent=2))
        return
    for name in ("stage", "day", "next", "watch"):
        typer.echo(f"{name:<6} {told[name]}")
    for step in told["steps"]:
        evidence = step["comparison"][:12] or "no comparison"
        typer.echo(f"step   {step['time']} to stage {step['stage']}: {step['reason']} ({evidence})")


@app.command()
def advance(
    comparison: Annotated[Path, typer.Option(help="JSON of lockstep compare paper, of this stage.")],
    reason: Why,
    *,
    config: LiveFile,
    store: Store = None,
) -> None:
    """Advance to the next stage on a passed paper comparison of this stage, once its day has come."""
    desk, now = OperatorDesk.read(config), time.time_ns()
    manifest = manifest_of(desk, store)
    desk.config.require_no_pin()
    found = comparison_of(comparison, wanted_versions(manifest, desk.config.versions))
    step = rollout.advance(
        desk.config.rollout,
        steps_of(desk),
        started=begun(desk),
        promotions=promotions(manifest, symbols_of(desk)),
        comparison=found,
        now=now,
        reason=required(reason),
    )
    rollout.require_sizes(desk.config.rollout, step.stage, trades_of(desk, store), desk.units.known)
    post(desk, step)


@app.command()
def step_back(reason: Why, config: LiveFile) -> None:
    """Return to the previous stage; no evidence is required."""
    desk = OperatorDesk.read(config)
    step = rollout.step_back(desk.config.rollout, steps_of(desk), now=time.time_ns(), reason=required(reason))
    post(desk, step)


def post(desk: OperatorDesk, step: RolloutStep) -> None:
    """Post a step and say what follows from it; LiveError where one waits in the mailbox already."""
    if any(isinstance(command, RolloutCommand) for _, command in desk.posted):
        raise LiveError("roll-out: a step waits in the mailbox already; start the engine, or wait for it")
    stages = desk.config.rollout.stages
    _, present = rollout.stage(desk.config.rollout, steps_of(desk))
    target = stages[step.stage]
    # A running engine takes the fraction at once, the mode at its next start: until then nothing may leave.
    fraction = 0.0 if target.mode == "shadow" else target.fraction
    command = RolloutCommand(
        stage=step.stage, fraction=fraction, comparison=step.comparison, reason=step.reason,
        units=dict(target.units) or None,
    )  # fmt: skip
    desk.post(command, f"rollout-{step.time}")
    typer.echo(f"stage {step.stage + 1} of {len(stages)}, {target.spelled}; {desk.taken}")
    if target.mode != present.mode:
        typer.echo(
            f"the mode changes to {target.mode} at a restart only, which needs a new epoch"
            + ("; until then every entry is refused" if target.mode == "shadow" else "")
        )


def comparison_of(path: Path, productions: Mapping[str, Wanted]) -> PaperVerdict:
    """Read the verdict of a paper comparison; LiveError where it is about other bundles than production's."""
    content = read_sealed(path, kind=COMPARISON, schema=SCHEMA)
    for symbol, (version, sha256, absence) in productions.items():
        if absence:
            raise LiveError(f"{symbol}: {absence}")
        if content["bundles"].get(symbol, [""])[-1] != sha256:
            raise LiveError(f"{path}: is not about {symbol} {version}, which is in production; compare again")
    return PaperVerdict(str(content[DIGEST]), int(content["time"]), bool(content["passed"]))


def trades_of(desk: OperatorDesk, store: Path | None) -> dict[str, Trades]:
    """Return what the models to be traded would trade on the newest bars of the journal.

    LiveError where the journal has too few bars to tell.
    """
    folder = ModelStore(store or desk.config.store)
    wanted = wanted_versions(folder.manifest(), desk.config.versions)
    models = {
        name: TradedModel.of(load_bundle(traded_symbol(name), each.version, store=folder))
        for name, each in wanted.items()
    }
    book = load_instruments()
    with Journal.open(desk.config.journal, readonly=True) as journal:
        bars = {key: journal.bars(key, limit=count) for key, count in needs_of(models, book).items()}
    found = usual_trades(models, book.markets, bars)
    for symbol in models.keys() - found.keys():
        raise LiveError(f"roll-out: {symbol}: too few bars to know its size; let the desk run on")
    return found


def steps_of(desk: OperatorDesk) -> list[RolloutStep]:
    """Return the recorded steps, oldest first."""
    return [RolloutStep.of(event) for event in desk.rollout]


def begun(desk: OperatorDesk) -> int:
    """Return when the roll-out began: the first epoch that is not paper, UTC ns; LiveError without one."""
    for epoch in desk.epochs:
        if epoch.mode != "paper":
            return epoch.started
    raise LiveError("roll-out: this journal knows mode paper only; it begins with --mode shadow")


def symbols_of(desk: OperatorDesk) -> list[str]:
    """Return the traded symbols."""
    return [each.symbol for each in desk.config.instruments]


def manifest_of(desk: OperatorDesk, store: Path | None) -> Manifest:
    """Return the manifest of `store`, by default that of the configuration."""
    return ModelStore(store or desk.config.store).manifest()


def promotions(manifest: Manifest, symbols: Sequence[str]) -> list[int]:
    """Return when another version of a traded symbol came into production, UTC ns."""
    return [
        int(entry.time.timestamp()) * 1_000_000_000
        for entry in manifest.history
        if entry.action in _MOVES and entry.symbol in symbols and entry.name == VETO
    ]


def required(reason: str) -> str:
    """Return the reason; LiveError for an empty one."""
    if not reason.strip():
        raise LiveError("roll-out: no reason; say why, and who decided")
    return reason


def summary(desk: OperatorDesk, manifest: Manifest, *, now: int) -> dict[str, Any]:
    """Return where the roll-out stands, as plain JSON."""
    plan, steps = desk.config.rollout, steps_of(desk)
    index, present = rollout.stage(plan, steps)
    started = next((each.started for each in desk.epochs if each.mode != "paper"), None)
    following = plan.stages[index + 1] if index + 1 < len(plan.stages) else None
    watched = rollout.watching(plan, promotions(manifest, symbols_of(desk)), now)
    return {
        "stage": f"{index + 1} of {len(plan.stages)}, {present.spelled}",
        "day": "not begun; it begins with mode shadow" if started is None else (now - started) // DAY + 1,
        "next": "none" if following is None else f"{following.spelled}, from day {following.from_day}",
        "watch": f"a model was promoted less than {plan.watch_days} days ago" if watched else "none",
        "steps": [
            {
                "time": iso(each.time),
                "stage": each.stage + 1,
                "reason": each.reason,
                "comparison": each.comparison,
            }
            for each in steps
        ],
        "engine": "is running" if desk.running else "is not running",
    }
