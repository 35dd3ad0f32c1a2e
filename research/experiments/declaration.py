"""What a search declares before it begins: the spaces of a plan, one per symbol, see `ledger/spaces.py`."""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from lockstep.identity import json_digest
from lockstep.market.dates import DateRange
from lockstep.strategy.config import StrategyConfig
from research.experiments.plan import Plan
from research.experiments.store import Record
from research.experiments.variants import VariantSpace, contents, draw
from research.ledger.ledger import Ledger
from research.ledger.spaces import ADAPTIVE, Derivation, TrialSpace, member

Fields = dict[str, tuple[str, ...]]

# The one field of a space that is listed variant by variant, and how many it may have.
_MEANING = "meaning"
_MOST_LISTED = 20_000


def space_of(plan: Plan, symbol: str) -> TrialSpace:
    """Return what a plan may evaluate on a symbol.

    A random search declares the combinations that it drew, not those that it might have drawn; an evolution
    all that it may come to; a part of a space all of that space, whose other parts count with it. Of a family
    whose hash is over what a variant means, that is declared: two spellings are one variant.
    """
    if plan.kind == "part":
        return replace(space_of(plan.whole, symbol), proposer=plan.kind, how=_walked(plan))
    if _is_listed(plan):
        names = _meanings(plan.space, plan.numbers if plan.generations is None else plan.reachable)
        fields, size, members = {_MEANING: names}, len(names), None
    else:
        fields = dict(_fields(plan.space))
        size = len(plan.numbers) if plan.generations is None else plan.space.size
        members = tuple(sorted(_members(plan, fields))) if plan.kind == "random" else None
    return TrialSpace(
        proposer=plan.kind,
        symbol=symbol,
        windows=tuple(f"{each.train} / {each.test}" for each in plan.windows),
        fields=fields,
        size=size,
        members=members,
        learns=plan.generations is not None,
        how="" if plan.generations is None else how_it_learns(plan),
    )


def how_it_learns(plan: Plan) -> str:
    """Return what decides which variants an evolution visits."""
    return f"{plan.generations} generations of {plan.children}, seed {plan.seed}, by {plan.select_by}"


def _walked(plan: Plan) -> str:
    return f"{plan.skip} to {(plan.skip or 0) + len(plan.numbers)} in the order of seed {plan.seed}"


def parts_of(ledger: Ledger, plan: Plan, symbol: str, family: str) -> tuple[int, int]:
    """Return how many parts of a plan's space were begun on a symbol, and how far they came in its order.

    A plan with another seed walks in another order, from its beginning; the parts of both count.
    """
    whole = space_of(plan.whole, symbol)
    found = [
        each.how
        for each in ledger.spaces(family, plan.split.searched)
        if each.proposer == "part" and replace(each, proposer=whole.proposer, how="").hash == whole.hash
    ]
    walked = [_STEPS.fullmatch(how) for how in found]
    ends = [int(each[1]) for each in walked if each is not None and int(each[2]) == plan.seed]
    return len(found), max(ends, default=0)


_STEPS = re.compile(r"\d+ to (\d+) in the order of seed (\d+)")


def space_of_one(
    config: StrategyConfig, symbol: str, dates: DateRange, *, proposer: str, model: str | None = None
) -> TrialSpace:
    """Return the space of one strategy on one range; `model` is the SHA-256 of a bundle whose veto it has."""
    fields = dict(_fields(VariantSpace(base=config, values={})))
    if config.meant_fields():
        fields = {_MEANING: (json.dumps(config.config_hash),)}
    if model is not None:
        fields["model"] = (json.dumps(model),)
    return TrialSpace(proposer=proposer, symbol=symbol, windows=(str(dates),), fields=fields, size=1)


def declare(
    ledger: Ledger,
    plan: Plan,
    families: Mapping[str, str],
    *,
    now: datetime,
    experiment_id: int | None = None,
) -> dict[str, Derivation]:
    """Write the spaces of a plan into the ledger, and return what each counts as, by symbol.

    families   of the symbols that are declared
    """
    return {
        symbol: ledger.declare(
            space_of(plan, symbol),
            families[symbol],
            plan.split.searched,
            experiment_id=experiment_id,
            now=now,
        )
        for symbol in families
    }


def search_hash(record: Record) -> str:
    """Return a hash of all that decides what a search finds, its seed included."""
    plan = record.plan.model_dump(
        mode="json", exclude={"name", "picked", "top", "limits", "data_dir", "source"}
    )
    if plan["skip"] is None:
        # As earlier versions wrote it, which had no parts: what is known of their searches still holds.
        del plan["skip"]
    return json_digest([plan, record.plan.strategy.config_hash, record.code_hash, record.data_hashes])


def weakest(found: Mapping[str, Derivation]) -> Derivation:
    """Return the derivation that decides for several symbols: an adaptive one, where there is one."""
    return next((each for each in found.values() if each.kind == ADAPTIVE), next(iter(found.values())))


def searched_line(found: Derivation) -> str:
    """Return how a search came to its trials, and what follows from it, in a line."""
    line = f"searched: {found.reason}"
    if not found.reason.startswith(found.kind):
        line = f"searched: {found.kind}, {found.reason}"
    if found.kind == ADAPTIVE:
        return f"{line}; maximum test and deflated Sharpe are not valid here"
    if found.unevaluated:
        line += f"; {found.unevaluated:,} declared variants that nobody evaluated count as tried"
    return line


def _is_listed(plan: Plan) -> bool:
    """Whether a space is declared by what each of its variants means: the same in whatever words."""
    count = len(plan.numbers) if plan.generations is None else plan.space.size
    return bool(type(plan.strategy).meant_fields()) and count <= _MOST_LISTED


def _meanings(space: VariantSpace, numbers: Sequence[int]) -> tuple[str, ...]:
    """Return what tells some combinations apart as JSON, sorted, each once."""
    found, _ = contents(draw(space, numbers), space.base.config_hash)
    return tuple(sorted({json.dumps(each) for each in found.tolist()}))


# A night declares the same few spaces on each symbol, as wholes and as parts.
@functools.lru_cache(maxsize=16)
def _fields(space: VariantSpace) -> Mapping[str, tuple[str, ...]]:
    """Return the values of every field as JSON, those of fields that vary without repetition."""
    kind = type(space.base)
    found: Fields = {
        field: (kind.spelled(field, getattr(space.base, field)),) for field in kind.hashed_fields()
    }
    for field in space.paths_by_field:
        found[field] = tuple(dict.fromkeys(text for _, text in _choices(space, field)))
    return found


def _choices(space: VariantSpace, field: str) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield, for every combination of the values within a field, their places and the field as JSON."""
    paths = space.paths_by_field[field]
    for places in itertools.product(*(range(len(space.values[path])) for path in paths)):
        at = dict(zip(paths, places, strict=True))
        config = space.config(at)
        if config is not None:
            yield places, type(space.base).spelled(field, getattr(config, field))
        else:
            # Breaks a rule, by itself or together with the base: as it is written.
            yield places, json.dumps([field, _plain(space.content_at(field, at))], sort_keys=True)


def _plain(value: Any) -> Any:
    """Return a value of a configuration as JSON has it; 5.0 and 5 are one number."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _members(plan: Plan, fields: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    space = plan.space
    fixed = {field: texts[0] for field, texts in fields.items()}
    choices = {field: dict(_choices(space, field)) for field in space.paths_by_field}
    for number in plan.numbers:
        places = space.places(number)
        varied = {
            field: choices[field][tuple(places[path] for path in paths)]
            for field, paths in space.paths_by_field.items()
        }
        yield member({**fixed, **varied})
