"""Where promoted strategies come from: one row for each, with what changed."""

from __future__ import annotations

import json

from sqlalchemy import insert, select

from lockstep.strategy.ibs_decision import IbsConfig
from research.experiments.execution import Lab
from research.experiments.models import Genealogy
from research.experiments.strategy_log import Entry


def parent_of(lab: Lab, parent: IbsConfig) -> str | None:
    """Return the name of the strategy that a configuration was promoted from; None where it never was."""
    query = select(Genealogy.parent).where(Genealogy.config_hash == parent.config_hash)
    with lab.database.read() as connection:
        found: str | None = connection.scalar(query.order_by(Genealogy.id.desc()).limit(1))
    return found


def remember(lab: Lab, entry: Entry) -> None:
    """Write down what was promoted."""
    with lab.database.write() as connection:
        connection.execute(
            insert(Genealogy).values(
                strategy=entry.name,
                config_hash=entry.config_hash,
                parent=entry.parent,
                parent_hash=entry.parent_hash,
                grandparent=entry.grandparent,
                experiment_id=entry.experiment,
                changes=json.dumps(entry.changes),
                forced=entry.reason or None,
                promoted=lab.now().isoformat(timespec="seconds"),
            )
        )
