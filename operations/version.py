"""`lockstep version`: which code, lock file and libraries these are."""

from __future__ import annotations

from typing import Annotated

import typer

from lockstep import __version__
from lockstep.identity import ROOTS, hashes
from lockstep.models.command_line import Json, print_json

_MEANING = {
    "reading": "how a file becomes bars",
    "deciding": "what the live engine does with them",
    "trials": "what a backtest or a search counts",
    "portfolios": "what a backtest of a portfolio depends on",
    "optimising": "what makes a portfolio",
    "training": "the result of a training run",
    "releasing": "what a strategy without a model is released with",
    "validating": "what judges a model",
    "certifying": "what compares research with live",
    "paper": "what compares paper with research",
    "agents": "what a session of research agents proposes and measures",
    "zoo": "what trains a model of the zoo",
}

app = typer.Typer(add_completion=False)


@app.command()
def version(
    with_hashes: Annotated[
        bool, typer.Option("--hashes", help="Print the hashes of code and lock file, and the libraries.")
    ] = False,
    json: Json = False,
) -> None:
    """Print the version; with --hashes also everything that evidence and journals are bound to.

    A code hash covers a root and all that it imports, without comments and docstrings: two installations with
    the same hashes decide the same.
    """
    if json:
        print_json({"version": __version__} | (hashes() if with_hashes else {}))
        return
    typer.echo(f"lockstep {__version__}")
    if not with_hashes:
        return
    found = hashes()
    for root in ROOTS:
        typer.echo(f"{root:<19} {found['code'][root]}  {_MEANING.get(root, '')}".rstrip())
    typer.echo(f"{'lock file':<19} {found['lock'] or 'none: installed from a wheel'}")
    typer.echo(f"{'Python':<19} {found['python']}")
    for name, number in found["libraries"].items():
        typer.echo(f"{name:<19} {number}")
