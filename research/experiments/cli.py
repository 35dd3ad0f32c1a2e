"""The command line of experiments: `python scripts/experiments.py --help`."""

from __future__ import annotations

from lockstep.market.command_line import App
from research.experiments import cli_promotion, cli_results, cli_search

app = App(no_args_is_help=True, help="Search parameters; every trial is counted.")

app.command("grid-search")(cli_search.grid_search)
app.command("resume")(cli_search.resume)
app.command("show")(cli_results.show)
app.command("list")(cli_results.list_all)
app.command("trials")(cli_results.trials)
app.command("compare")(cli_results.compare_two)
app.command("export")(cli_results.export_runs)
app.command("promote")(cli_promotion.promote_winner)
app.command("actual")(cli_promotion.actual)
app.command("rename")(cli_promotion.rename)
app.command("delete")(cli_promotion.delete)
