"""The strategy database: sessions, proposals, outcomes and events, in the tables of the trial ledger.

Rows are only ever added. What a strategy is worth, where it comes from and what has not been tried are
queries over them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Connection, Row, select

from lockstep.errors import AgentError
from lockstep.market.dates import DateRange
from research.agents.archive import open_niches
from research.agents.loop import Judged, Remembered
from research.agents.plan import SessionPlan
from research.agents.proposal import CatalogueEntry, Niche, Proposal, Status, Trial
from research.agents.records import (
    exploration_vector,
    outcome_content,
    proposal_content,
    read_proposal,
    read_trial,
    written,
)
from research.agents.specs import AgentSpec
from research.experiments.variants import evaluation_id
from research.ledger.agent_tables import AgentEventRow, AgentOutcomeRow, AgentProposalRow, AgentSessionRow
from research.ledger.chain import table_of
from research.ledger.database import Database
from research.ledger.kinship import relatives
from research.ledger.law import Law, enact
from research.ledger.ledger import Ledger, Trials
from research.ledger.spaces import Derivation, TrialSpace, enter

PROPOSER = "agents"
FROZEN, GATE, REGISTERED = "frozen", "gate", "registered"

_SESSIONS, _PROPOSALS, _OUTCOMES, _EVENTS = (
    table_of(each) for each in (AgentSessionRow, AgentProposalRow, AgentOutcomeRow, AgentEventRow)
)
_STATUS_IN_LEDGER: Mapping[Status, str] = {
    "evaluated": "ok", "repeated": "repeated", "refused": "refused", "failed": "failed",
}  # fmt: skip


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class SessionRecord:
    """A session as it is in the database; events: what became of it, by kind."""

    id: int
    key: str
    plan: SessionPlan
    recorded: str
    events: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def space(self) -> TrialSpace:
        """What it may evaluate: as many strategies as its budget allows, which learn from each other."""
        return space_of_session(self.plan)


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """A proposal in the database, whose outcome may not be there yet; meaning: its `config_hash`, or ""."""

    id: int
    number: int
    meaning: str
    proposal: Proposal


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A proposal with what came of it, as the strategy database shows it.

    session, symbol   whose it is
    vector            see `records.exploration_vector`
    decision          what was decided about it, a sentence
    """

    session: int
    symbol: str
    trial: Trial
    meaning: str
    vector: Mapping[str, float]
    decision: str

    @property
    def name(self) -> str:
        """Session and number, `3.17`."""
        return f"{self.session}.{self.trial.number}"


@dataclass(frozen=True)
class AgentBook:
    """The sessions of one ledger; now: the clock."""

    ledger: Ledger
    now: Callable[[], datetime] = _utc_now

    @classmethod
    def open(cls, url: str | None = None) -> AgentBook:
        """Open the database of `LOCKSTEP_DB`, or another one."""
        return cls(Ledger(Database.open(url)))

    # --- What is written ---

    def begin(self, plan: SessionPlan) -> SessionRecord:
        """Write a session down before anything of it is evaluated, or return the one that is there.

        With it its space, and the law under which it searches: which dates it seals.
        """
        known = self._by_key(plan.key)
        if known is not None:
            return known
        with self.ledger.database.write() as connection:
            row = {
                "key": plan.key, "symbol": plan.settings.symbol,
                "content": written(plan.model_dump(mode="json")), "recorded": self._moment(),
            }  # fmt: skip
            self.ledger.append(connection, AgentSessionRow, [row])
            families = relatives(connection, plan.family)
            enter(
                connection, space_of_session(plan), families, plan.train, experiment_id=None, now=self.now()
            )  # fmt: skip
            if plan.hold_out is not None:
                law = Law(
                    family=plan.family, dates=DateRange(start=plan.train.start, end=plan.validation.end),
                    limits={}, holdout=plan.hold_out, experiment_id=None, recorded="",
                )  # fmt: skip
                enact(connection, law, now=self.now())
        found = self._by_key(plan.key)
        assert found is not None
        return found

    def step(
        self,
        session: SessionRecord,
        *,
        done: tuple[Proposed, Judged, str] | None = None,
        proposed: tuple[int, Proposal, AgentSpec | str] | None = None,
    ) -> Proposed | None:
        """Write what came of a proposal, and the next one, in one transaction; returns the next one.

        done       a proposal, what came of it, and what was decided
        proposed   its number, what was proposed, and how it was read
        """
        with self.ledger.database.write() as connection:
            if done is not None:
                self._write_outcome(connection, session, *done)
            return None if proposed is None else self._write_proposal(connection, session, *proposed)

    def happened(
        self,
        session: SessionRecord,
        kind: str,
        content: Mapping[str, Any],
        *,
        along: Callable[[Connection], None] = lambda _: None,
    ) -> SessionRecord:
        """Write down what became of a session, once; returns the session with it.

        along   writes what belongs to it, in the same transaction
        """
        if kind not in session.events:
            row = {
                "session_id": session.id,
                "kind": kind,
                "content": written(dict(content)),
                "recorded": self._moment(),
            }
            with self.ledger.database.write() as connection:
                along(connection)
                self.ledger.append(connection, AgentEventRow, [row])
        return self.session(session.id)

    def _write_proposal(
        self,
        connection: Connection,
        session: SessionRecord,
        number: int,
        proposal: Proposal,
        read: AgentSpec | str,
    ) -> Proposed:
        content: dict[str, Any] = proposal_content(proposal)
        meaning, kind = "", proposal.kind
        if not isinstance(read, str):
            meaning, kind = read.config.config_hash, read.kind
            content["vector"] = exploration_vector(read.config)
        row = {
            "session_id": session.id, "number": number, "kind": kind, "config_hash": meaning,
            "content": written(content), "recorded": self._moment(),
        }  # fmt: skip
        (id,) = self.ledger.append(connection, AgentProposalRow, [row])
        return Proposed(id=id, number=number, meaning=meaning, proposal=read_proposal(content))

    def _write_outcome(
        self,
        connection: Connection,
        session: SessionRecord,
        proposed: Proposed,
        judged: Judged,
        decision: str,
    ) -> None:
        trial, plan = judged.trial, session.plan
        name = evaluation_of(session, proposed, trial)
        trials = Trials(
            family=plan.family, symbol=plan.settings.symbol, dates=plan.train, kind=PROPOSER,
            evaluations={name: _STATUS_IN_LEDGER[trial.status]},
        )  # fmt: skip
        self.ledger.record(trials, now=self.now(), connection=connection)
        measures = trial.measures
        fitness = None if measures is None else _or_none(measures.fitness)
        content = {
            **outcome_content(trial), "decision": decision, "behaviour": judged.behaviour, "evaluation": name,
        }  # fmt: skip
        row = {
            "proposal_id": proposed.id, "status": trial.status, "fitness": fitness,
            "sharpe": None if measures is None else _or_none(measures.sharpe), "content": written(content),
            "recorded": self._moment(),
        }  # fmt: skip
        self.ledger.append(connection, AgentOutcomeRow, [row])

    def _moment(self) -> str:
        return self.now().isoformat(timespec="seconds")

    # --- What is read ---

    def session(self, number: int) -> SessionRecord:
        """Return a session; AgentError where there is none of this number."""
        found = self._sessions(_SESSIONS.c.id == number)
        if not found:
            known = ", ".join(str(each.id) for each in self.sessions()) or "none yet"
            raise AgentError(f"session {number}: there is none; there are {known}")
        return found[0]

    def sessions(self) -> list[SessionRecord]:
        """Return all sessions, oldest first."""
        return self._sessions()

    def proposals(self, session: SessionRecord) -> tuple[list[Judged], Proposed | None]:
        """Return the trials of a session that are done, in order, and the proposal that is not yet."""
        wanted = (
            select(_PROPOSALS, _OUTCOMES.c.status, _OUTCOMES.c.content.label("outcome"))
            .outerjoin(_OUTCOMES, _OUTCOMES.c.proposal_id == _PROPOSALS.c.id)
            .where(_PROPOSALS.c.session_id == session.id)
            .order_by(_PROPOSALS.c.number)
        )
        done, waiting = [], None
        with self.ledger.database.read() as connection:
            for row in connection.execute(wanted):
                if row.status is None:
                    waiting = Proposed(
                        id=row.id, number=row.number, meaning=row.config_hash,
                        proposal=read_proposal(json.loads(row.content)),
                    )  # fmt: skip
                else:
                    outcome = json.loads(row.outcome)
                    judged = Judged(
                        trial=_trial(row), meaning=row.config_hash, behaviour=outcome["behaviour"]
                    )  # fmt: skip
                    done.append(judged)
        return done, waiting

    def remembered(self, session: SessionRecord) -> tuple[dict[str, Remembered], dict[str, Remembered]]:
        """Return by meaning, and by behaviour, what earlier sessions evaluated on the same bars and code."""
        same = [each.id for each in self.sessions() if each.plan.where == session.plan.where]
        meanings, behaviours = dict[str, Remembered](), dict[str, Remembered]()
        for each in self._strategies(_PROPOSALS.c.session_id.in_([id for id in same if id < session.id])):
            if each.trial.status != "evaluated" or each.trial.measures is None:
                continue
            found = Remembered(
                session=each.session, number=each.trial.number, measures=each.trial.measures,
                versions=each.trial.versions,
            )  # fmt: skip
            meanings.setdefault(each.meaning, found)
            if each.trial.measures.behaviour:
                behaviours.setdefault(each.trial.measures.behaviour, found)
        return meanings, behaviours

    def earlier(self, session: SessionRecord, most: int = 20) -> tuple[Trial, ...]:
        """Return the best trials that earlier sessions made on the same family, the best first.

        Of each meaning one. They are told to a researcher; their training dates end where its own do, or
        before.
        """
        ids = [
            each.id
            for each in self.sessions()
            if each.id < session.id
            and each.plan.family == session.plan.family
            and each.plan.train.end <= session.plan.train.end
        ]
        found: dict[str, Trial] = {}
        for each in _by_fitness(self._strategies(_PROPOSALS.c.session_id.in_(ids))):
            if each.trial.status == "evaluated":
                found.setdefault(each.meaning, each.trial)
        return tuple(list(found.values())[:most])

    def strategies(self, session: int | None = None) -> list[Strategy]:
        """Return the strategies of a session, or of all, in the order in which they were proposed."""
        return self._strategies(*(() if session is None else (_PROPOSALS.c.session_id == session,)))

    def strategy(self, name: str) -> Strategy:
        """Return the strategy `SESSION.NUMBER`; AgentError where there is none."""
        session, _, number = name.partition(".")
        if session.isdigit() and number.isdigit():
            wanted = (_PROPOSALS.c.session_id == int(session), _PROPOSALS.c.number == int(number))
            found = self._strategies(*wanted)
            if found:
                return found[0]
        raise AgentError(f"strategy {name!r}: there is none; name session and number, such as 3.17")

    def get_top(self, most: int = 10, session: int | None = None) -> list[Strategy]:
        """Return the strategies with the greatest fitness that were evaluated, the best first."""
        return [each for each in _by_fitness(self.strategies(session)) if _judged(each)][:most]

    def get_recent(self, most: int = 10) -> list[Strategy]:
        """Return the newest strategies, the newest first."""
        return self.strategies()[::-1][:most]

    def search_by_model(self, text: str) -> list[Strategy]:
        """Return the strategies that read a model: part of the id of its version, or of its name."""
        return [
            each
            for each in self.strategies()
            if any(text in name for name in (*each.trial.versions, *each.trial.versions.values()))
            or any(text in spec.name for spec in each.trial.proposal.models.values())
        ]

    def get_underexplored_areas(self, session: int, most: int = 10) -> list[Niche]:
        """Return niches without a trial that lie beside an elite of a session, those of the best first.

        Families are those that any session has tried.
        """
        families = {each.trial.niche.feature for each in self.strategies() if each.trial.niche is not None}
        trials = [each.trial for each in self.strategies(self.session(session).id)]
        entries = [
            CatalogueEntry(id=each, family=each, low=0.0, high=0.0, quantiles=(), document="")
            for each in sorted(families)
        ]
        return list(open_niches(trials, entries, most=most))

    def get_genealogy(self, name: str, depth: int = 2) -> list[tuple[int, Strategy]]:
        """Return a strategy and its ancestors, each with how many generations back it is.

        depth   2: parents and grandparents. Those of earlier sessions follow where one was taken up
        """
        by_id = {each.trial.id: each for each in self.strategies()}
        first = self.strategy(name)
        found, seen, generation = [(0, first)], {first.trial.id}, [first]
        for back in range(1, depth + 1):
            parents = [parent for each in generation for parent in self._parents(each, by_id)]
            new = {each.trial.id: each for each in parents if each.trial.id not in seen}
            seen |= new.keys()
            generation = list(new.values())
            found += [(back, each) for each in generation]
        return found

    def derivation(self, session: SessionRecord) -> Derivation:
        """Return what the session's search counts as, and whether it can be replayed."""
        plan = session.plan
        return self.ledger.derivation(session.space, plan.family)

    @staticmethod
    def _parents(strategy: Strategy, by_id: Mapping[int, Strategy]) -> list[Strategy]:
        trial = strategy.trial
        numbers = {(each.session, each.trial.number): each for each in by_id.values()}
        found = [numbers.get((strategy.session, number)) for number in trial.proposal.parents]
        if trial.proposal.from_id is not None:
            found.append(by_id.get(trial.proposal.from_id))
        return [each for each in found if each is not None]

    def _strategies(self, *where: Any) -> list[Strategy]:
        wanted = (
            select(
                _PROPOSALS, _SESSIONS.c.symbol, _OUTCOMES.c.status, _OUTCOMES.c.content.label("outcome")
            )
            .join(_OUTCOMES, _OUTCOMES.c.proposal_id == _PROPOSALS.c.id)
            .join(_SESSIONS, _SESSIONS.c.id == _PROPOSALS.c.session_id)
            .where(*where)
            .order_by(_PROPOSALS.c.id)
        )  # fmt: skip
        with self.ledger.database.read() as connection:
            return [
                Strategy(
                    session=row.session_id, symbol=row.symbol, trial=_trial(row), meaning=row.config_hash,
                    vector=json.loads(row.content).get("vector", {}),
                    decision=json.loads(row.outcome)["decision"],
                )
                for row in connection.execute(wanted)
            ]  # fmt: skip

    def _by_key(self, key: str) -> SessionRecord | None:
        found = self._sessions(_SESSIONS.c.key == key)
        return found[0] if found else None

    def _sessions(self, *where: Any) -> list[SessionRecord]:
        with self.ledger.database.read() as connection:
            rows = connection.execute(select(_SESSIONS).where(*where).order_by(_SESSIONS.c.id)).all()
            events: dict[int, dict[str, Any]] = {}
            for row in connection.execute(select(_EVENTS).order_by(_EVENTS.c.id)):
                events.setdefault(row.session_id, {})[row.kind] = json.loads(row.content)
        return [
            SessionRecord(
                id=row.id, key=row.key, plan=SessionPlan.model_validate_json(row.content),
                recorded=row.recorded, events=events.get(row.id, {}),
            )
            for row in rows
        ]  # fmt: skip


def space_of_session(plan: SessionPlan) -> TrialSpace:
    """Return what a session declares before its first trial."""
    settings = plan.settings
    return TrialSpace(
        proposer=PROPOSER,
        symbol=settings.symbol,
        windows=(str(plan.train),),
        fields={"session": (written(plan.key),)},
        size=settings.strategies,
        learns=True,
        how=f"researcher {settings.researcher}, seed {settings.seed}, {', '.join(settings.kinds)}",
    )


def evaluation_of(session: SessionRecord, proposed: Proposed, trial: Trial) -> str:
    """Return under which name the ledger counts a trial.

    What was evaluated has that of its meaning on these bars, by this code; what was not evaluated again, or
    not at all, was tried all the same, and has one of its own.
    """
    own = proposed.meaning if trial.status == "evaluated" else f"{session.key} {trial.number} {trial.status}"
    return evaluation_id(f"agents {session.plan.where}", own)


def _trial(row: Row[Any]) -> Trial:
    content = json.loads(row.content)
    status = cast("Status", row.status)
    return read_trial(row.number, row.id, read_proposal(content), status, json.loads(row.outcome))


def _judged(strategy: Strategy) -> bool:
    return strategy.trial.status == "evaluated" and strategy.trial.fitness > float("-inf")


def _by_fitness(found: Sequence[Strategy]) -> list[Strategy]:
    return sorted(found, key=lambda each: (-each.trial.fitness, each.trial.id))


def _or_none(value: float) -> float | None:
    return value if value == value and abs(value) != float("inf") else None
