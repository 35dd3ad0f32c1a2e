"""A family of strategies: a configuration class, a compiled `decide`, and what each of its fields is for.

Everything that trades, tests, searches or trains a strategy asks this registry and knows no family by name.
A family is one file that ends with `register(Family(...))`. Those of the package are listed in `_built_in`;
a family of your own is a file in the folder `families` of your desk, or one that LOCKSTEP_FAMILIES names.
The code of such a file is part of the hash of every configuration of its family: a bundle that was made with
other code is refused.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from lockstep.desk import desk_folder
from lockstep.errors import ConfigError, StrategyError
from lockstep.features.fingerprint import reachable
from lockstep.market.bars import Floats
from lockstep.settings import parse_yaml, read_bytes, shown, suggestion, validated
from lockstep.strategy.config import DEFAULT_FAMILY, StrategyConfig

VARIABLE = "LOCKSTEP_FAMILIES"
MOST_BYTES = 64_000
"""Size of a strategy's file, comments included: a larger one would take its time before it is refused."""
_PACKAGE = "lockstep."

# What the fields that all families share are for.
_SHARED_LAYOUT = (
    "filters", "features", "stop", "target", "size", "window", "auto_close", "execution", "capital",
    "max_age",
)  # fmt: skip
_SHARED_ENTRY = ("window", "filters")
_SHARED_EXIT = ("max_bars", "stop", "target", "size", "capital")
_SHARED_RELATED = (("timeframe", "window", "auto_close"),)


@dataclass(frozen=True, kw_only=True, eq=False)
class Signals:
    """How a family decides whose conditions know neither clock nor position: programs first, then these.

    programs   compiled: rules -> where the programs of `specs/program.py` begin in them, those of the exit
               from a long and from a short position, of the long and of the short entry; and where they end
    enter      compiled: (long, short, values, probability, clock, rules, filters) -> code while flat; `long`
               and `short` are what the programs of the entries say
    leave      compiled: (signal, clock, holding, rules) -> code with a position; HOLD for none
    reads      rules -> the columns whose values `enter` reads, beside those of filters; of the others it
               asks only whether they are numbers

    `decide` of such a family is these two behind the programs; the sweep works out the programs of all bars
    at once.

    >>> from lockstep.market.config import load_instruments
    >>> from lockstep.strategy.decision import FAMILY
    >>> family = families()["rules"]
    >>> dip = family.config(name="dip", long_entry={"id": "ibs", "below": 0.2}, max_bars=3)
    >>> bounds = family.signals.programs(dip.rules(load_instruments().session("SPY")))
    >>> [bound - FAMILY for bound in bounds]
    [9, 9, 9, 13, 13]
    """

    programs: Callable[..., tuple[int, int, int, int, int]]
    enter: Callable[..., int]
    leave: Callable[..., int]
    reads: Callable[[Floats], tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Family:
    """One family of strategies.

    config    its configuration class, whose `family` field has the family's name as default
    decide    compiled, arguments and codes as in `decision.py`; while flat it reads no exit slot of the
              rules, and with a position no other slot of the family's than its exit slots
    signals   what `decide` is made of where its conditions know neither clock nor position; None elsewhere
    entry     fields of its own that say when an entry is taken
    exit      fields of its own that say when a position is left
    layout    fields of its own that change what the decision vector holds or how many rules there are
    related   groups of fields about which one rule of the configuration speaks; every other rule is about
              one field
    typical   values by parameter path: what a first grid may try, and what the family's tests draw from
    needed    content of a first configuration: what the family cannot do without, and a use of all it has
    aliases   names by parameter path: what other tools call it

    A field may be of several kinds. StrategyError where one is of none, or is not a field of the family.

    >>> ibs = families()["ibs"]
    >>> ibs.entry, ibs.exit, ibs.layout
    (('direction', 'entry', 'short_entry'), ('exit', 'short_exit'), ('signal',))
    >>> ibs.config(name="mine").family
    'ibs'
    """

    config: type[StrategyConfig]
    decide: Callable[..., int]
    signals: Signals | None = None
    entry: tuple[str, ...] = ()
    exit: tuple[str, ...] = ()
    layout: tuple[str, ...] = ()
    related: tuple[tuple[str, ...], ...] = ()
    typical: Mapping[str, tuple[Any, ...]]
    needed: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self._has_joint_rules and not self.related:
            raise StrategyError(
                f"strategy family {self.name!r}: {self.config.__name__} has a rule about several fields; "
                "name them in `related`"
            )
        own = self.config.model_fields.keys() - StrategyConfig.model_fields.keys()
        if needed := [each for each in sorted(own) if self.config.model_fields[each].is_required()]:
            raise StrategyError(
                f"strategy family {self.name!r}: {', '.join(needed)}: give every field of "
                f"{self.config.__name__} a default"
            )
        declared = {*self.entry, *self.exit, *self.layout}
        if own != declared:
            named = ", ".join(sorted(own ^ declared))
            raise StrategyError(
                f"strategy family {self.name!r}: {named}: every field of {self.config.__name__} must be "
                "declared as entry, exit or layout, and nothing else may be"
            )

    def example(self, **content: Any) -> StrategyConfig:
        """Return a configuration of its defaults, of what it needs, and of `content`, validated."""
        return self.config(**{"name": self.name, **self.needed, **content})

    @property
    def _has_joint_rules(self) -> bool:
        rules, shared = (
            each.__pydantic_decorators__.model_validators.keys() for each in (self.config, StrategyConfig)
        )
        return bool(rules - shared)

    @property
    def name(self) -> str:
        """What `family:` says in YAML."""
        return str(self.config.model_fields["family"].default)

    @property
    def entry_fields(self) -> tuple[str, ...]:
        """All fields that say when an entry is taken."""
        return (*self.entry, *_SHARED_ENTRY)

    @property
    def exit_fields(self) -> tuple[str, ...]:
        """All fields that say what becomes of an entry."""
        return (*self.exit, *_SHARED_EXIT)

    @property
    def layout_fields(self) -> tuple[str, ...]:
        """All fields that change what the vector holds, how many rules there are, or when a bar may trade."""
        return (*self.layout, *_SHARED_LAYOUT)

    @property
    def related_fields(self) -> tuple[tuple[str, ...], ...]:
        """Groups of fields that are valid only together."""
        return (*_SHARED_RELATED, *self.related)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what the family does: its file, and the kernels that `decide` reaches.

        Comments, docstrings, layout, imports and the name of the file do not count.
        """
        module = sys.modules[self.config.__module__]
        try:
            parts = [_normalised(inspect.getsource(module))]
        except OSError as error:
            raise StrategyError(
                f"strategy family {self.name!r}: its source cannot be read; put it in a file"
            ) from error
        kernels = sorted(f"{name}={text}" for (_, name), text in reachable(self.decide).items())
        return hashlib.sha256("\n".join([*parts, *kernels]).encode()).hexdigest()


def _normalised(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            undocumented = node.body[1:] if ast.get_docstring(node) is not None else node.body
            node.body = [
                each for each in undocumented if not isinstance(each, ast.Import | ast.ImportFrom)
            ] or [ast.Pass()]
    return ast.unparse(tree)


_registered: dict[str, Family] = {}


def register(family: Family) -> Family:
    """Add a family and return it; StrategyError where one of another module has its name."""
    known = _registered.get(family.name)
    if known is not None and known.config.__module__ != family.config.__module__:
        raise StrategyError(
            f"strategy family {family.name!r}: {known.config.__module__} and {family.config.__module__} both "
            "call themselves so; rename one"
        )
    if not family.config.__module__.startswith(_PACKAGE):
        family.config.family_code = (family.fingerprint,)
    _registered[family.name] = family
    return family


def families() -> dict[str, Family]:
    """Return every family by name: those of the package, then your own.

    Your own are the files that LOCKSTEP_FAMILIES names, separated as in PATH; where it is not set, those in
    the folder `families` of the desk. ConfigError where one of them cannot be loaded.
    """
    _built_in()
    for path in _own_files():
        load_family(path)
    return dict(_registered)


def _own_files() -> list[Path]:
    named = os.environ.get(VARIABLE)
    if named is not None:
        return [Path(each).expanduser().resolve() for each in named.split(os.pathsep) if each]
    desk = desk_folder()
    return [] if desk is None else sorted(path.resolve() for path in desk.families.glob("[!_.]*.py"))


def _built_in() -> None:
    """Import the families of the package; each registers itself."""
    from lockstep.strategy.families import ibs, rules  # noqa: F401


@functools.cache
def load_family(path: Path) -> Family:
    """Load a family's file and return what it registered; ConfigError where it cannot be used."""
    what = f"strategy family {path}"
    before = set(_registered)
    name = f"lockstep_family_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"{what}: no such Python file; correct the path")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        reason = " ".join(str(error).split())
        raise ConfigError(f"{what}: {type(error).__name__}: {reason}; fix the file") from error
    found = [_registered[each] for each in _registered if each not in before]
    found = found or [each for each in _registered.values() if each.config.__module__ == name]
    if len(found) != 1:
        raise ConfigError(f"{what}: registers {len(found)} families; it must register one")
    return found[0]


def family_named(name: object, *, where: str) -> Family:
    """Return the family of this name; ConfigError, with `where` and the nearest name, for an unknown one."""
    known = families()
    if not isinstance(name, str) or name not in known:
        raise ConfigError(
            f"{where}: unknown strategy family {shown(name)}{suggestion(str(name), known)}; a family of your "
            f"own is a file in your desk's folder families, or one that {VARIABLE} names"
        )
    return known[name]


def family_of(config: StrategyConfig) -> Family:
    """Return the family of a configuration; ConfigError where its class is registered nowhere."""
    found = _registered.get(config.family) or families().get(config.family)
    if found is None or not isinstance(config, found.config):
        raise ConfigError(
            f"{config.name}: {type(config).__name__} belongs to no registered strategy family; register one "
            "with lockstep.strategy.family.register"
        )
    return found


def strategy_of(content: object, *, where: str) -> StrategyConfig:
    """Return a strategy's content as the configuration of its family, `ibs` where it names none.

    ConfigError naming `where`, field, value and rule.
    """
    named = content.get("family", DEFAULT_FAMILY) if isinstance(content, Mapping) else DEFAULT_FAMILY
    return validated(family_named(named, where=where).config, content, where=where)


def load_strategy(path: Path | str) -> StrategyConfig:
    """Read a strategy's YAML file, of whichever family it names; errors as of `strategy_of`."""
    return strategy_in(read_bytes(Path(path)), Path(path))


def strategy_in(content: bytes, path: Path) -> StrategyConfig:
    """Return the strategy that the bytes of a YAML file say; errors, naming `path`, as of `strategy_of`."""
    if len(content) > MOST_BYTES:
        raise ConfigError(
            f"{path}: is {len(content):,} bytes long; a strategy has at most {MOST_BYTES:,}, make it simpler"
        )
    return strategy_of(parse_yaml(content, path), where=str(path))


def _of_its_family(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    try:
        found = family_named(value.get("family", DEFAULT_FAMILY), where="family")
    except ConfigError as error:
        raise ValueError(str(error).removeprefix("family: ")) from error
    return found.config.model_validate(dict(value))


AnyStrategy = Annotated[SerializeAsAny[StrategyConfig], BeforeValidator(_of_its_family)]
"""A field of a pydantic model that takes the configuration of any family, or its content."""
