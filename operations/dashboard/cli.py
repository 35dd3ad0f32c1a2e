"""`lockstep dashboard`: a desk in the browser of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockstep.desk import desk_file
from lockstep.live.config import LiveConfig
from lockstep.market.command_line import App, LiveFile, Results, monitoring_file
from lockstep.models.command_line import Store
from lockstep.models.store import ModelStore
from operations.dashboard.page import DashboardSources
from operations.retraining.config import RetrainingConfig
from operations.watch.config import MonitoringConfig

PORT = 8_790
TOKEN_FILE = "dashboard.token"

app = App()


@app.command()
def main(
    config: LiveFile,
    out: Results,
    monitoring: Annotated[
        Path | None,
        typer.Option(
            envvar="LOCKSTEP_MONITORING",
            help="The monitor's configuration; default: the one that watches this desk, if there is one.",
        ),
    ] = None,
    retraining: Annotated[
        Path | None,
        typer.Option(
            envvar="LOCKSTEP_RETRAINING",
            help="The configuration of retrainings; default: that of this desk, if there is one.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1; 0: any free one.")] = PORT,
    token_file: Annotated[
        Path | None, typer.Option(help="File of the token, made if missing; default: beside the status file.")
    ] = None,
    store: Store = None,
) -> None:
    """Show a desk in the browser: it only reads, on this machine alone, for who has the token."""
    from operations.dashboard.security import token_of

    live = LiveConfig.load(config)
    sources = DashboardSources(
        live=live,
        monitoring=_watching(config, monitoring),
        store=ModelStore(store or live.store),
        ledger="",
        results=out,
        retraining=_retraining(config, retraining),
    )
    place = token_file or live.status.with_name(TOKEN_FILE)
    token = token_of(place)
    # What it needs takes longer to load than a refusal should.
    from operations.dashboard.server import bound, dashboard_app, server_of

    with bound(port) as listening:
        typer.echo(f"dashboard: http://localhost:{listening.getsockname()[1]}")
        typer.echo(f"token: the line in {place.absolute()}")
        server_of(dashboard_app(sources, token=token)).run(sockets=[listening])


def _watching(config: Path, named: Path | None) -> MonitoringConfig | None:
    """Return the configuration of the monitor that is named, or the usual one where it watches this desk."""
    if named is not None:
        return MonitoringConfig.load(named)
    for usual in (config.with_name("monitoring.yml"), monitoring_file()):
        if usual.is_file():
            found = MonitoringConfig.load(usual)
            if found.desk.resolve() == config.resolve():
                return found
    return None


def _retraining(config: Path, named: Path | None) -> RetrainingConfig | None:
    """Return the configuration of retrainings that is named, or the usual one where it is of this desk."""
    if named is not None:
        return RetrainingConfig.load(named)
    for usual in (config.with_name("retraining.yml"), desk_file("retraining.yml", "configs/retraining.yml")):
        if usual.is_file():
            found = RetrainingConfig.load(usual)
            monitor = found.monitoring
            if monitor.is_file() and MonitoringConfig.load(monitor).desk.resolve() == config.resolve():
                return found
    return None
