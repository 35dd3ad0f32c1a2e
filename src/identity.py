"""Identity: which code, which libraries, which lock file and which configuration these are.

A **code hash** is the import closure of declared root modules (`ROOTS`), taken from their parsed source. It
changes with every edit that can change what the roots do. Docstrings, comments, formatting, exports, imports
for type checkers and the names of files and folders do not enter: an import counts as what it resolves to.

Two kinds of module end a closure, both declared here:

- what shows or tells and decides nothing (`SHOWS`): pages, tables, the status file, alerts;
- plugs, which are found by name (`PLUGS`): a plug enters where it is used, by its own hash (`plug_hash`;
  features by their fingerprint), so that a new plug changes no hash of those who do not use it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from lockstep.errors import CodeError
from lockstep.files import replacing

PACKAGES = ("lockstep", "research", "certify", "operations")

# How a file becomes bars; what a desk does with them; what a backtest or a variant of a sweep makes of them,
# and how dates are split; what trades a portfolio, and what makes one; what a training run makes; what makes
# a bundle of a strategy alone; what judges bundles; what compares research with live, and with paper; what
# research agents propose, and how it is measured; what trains a model of the zoo.
(
    READING, DECIDING, TRIALS, PORTFOLIOS, OPTIMISING, TRAINING, RELEASING, VALIDATING, CERTIFYING, PAPER,
    AGENTS, ZOO,
) = (
    "reading", "deciding", "trials", "portfolios", "optimising", "training", "releasing", "validating",
    "certifying", "paper", "agents", "zoo",
)  # fmt: skip
ROOTS: Mapping[str, tuple[str, ...]] = {
    READING: ("lockstep.market.reading.files",),
    DECIDING: ("lockstep.live.service",),
    TRIALS: ("research.experiments.evaluation", "research.sweep.run", "research.backtest.run"),
    PORTFOLIOS: ("research.backtest.portfolio",),
    OPTIMISING: ("research.optimise.optimise",),
    TRAINING: ("research.training.train", "research.training.bundling"),
    RELEASING: ("research.training.release",),
    VALIDATING: ("research.model_validation.checks", "research.model_validation.gathering"),
    CERTIFYING: ("certify.run", "lockstep.live.service"),
    PAPER: ("certify.paper", "lockstep.live.service"),
    AGENTS: (
        "research.agents.loop",
        "research.agents.bench",
        "research.agents.team",
        "research.agents.quant",
    ),
    ZOO: ("research.zoo.bundling",),
}

# A module here, or below a package here, is told what happened and is never asked: what loads it decides the
# same without it. This module, which names the roots, is among them.
SHOWS = (
    "lockstep.console",
    "lockstep.identity",
    "lockstep.tables",
    "lockstep.live.starting",
    "lockstep.live.status",
    "lockstep.monitoring.alerts",
    "lockstep.monitoring.discord",
    "lockstep.monitoring.registry",
    "certify.page",
    "research.report",
    "research.backtest.folder",
)


@dataclass(frozen=True, kw_only=True)
class PlugFolder:
    """Where plugs of one kind live.

    package   that holds them, one module each
    table     (module, name) of the assignment that lists them, where they do not find themselves
    """

    package: str
    table: tuple[str, str] | None = None


PLUGS: Mapping[str, PlugFolder] = {
    "feature": PlugFolder(package="lockstep.features.catalogue"),
    "feed": PlugFolder(package="lockstep.live.feeds", table=("lockstep.live.feeds.registry", "FEEDS")),
    "broker": PlugFolder(
        package="lockstep.live.brokers", table=("lockstep.live.brokers.registry", "BROKERS")
    ),
}

# The libraries whose code takes part in a decision. Others (a web framework, a plotting library) may be
# updated without a word.
LIBRARIES = (
    "numpy", "numba", "llvmlite", "scipy", "scikit-learn", "joblib", "backtrader", "exchange-calendars",
)  # fmt: skip

# Those that decide the bits of a trained model.
TRAINING_LIBRARIES = (
    "lightgbm", "numba", "numpy", "scikit-learn", "scikit-optimize", "scipy", "xgboost-cpu",
)  # fmt: skip

LOCK = "requirements.lock"

_KEY, _KEPT = 32, 256
_HASH = re.compile("c1-[0-9a-f]{61}")
# Begins every code hash: one that an earlier version made another way is never equal to one of ours.
_SCHEME = "c1-"
_DIGITS = 61
_SHOWN = "what shows"
# An import in the text of a program that is generated.
_IMPORT_IN_TEXT = re.compile(r"^\s*(?:from|import)\s+([\w.]+)", re.MULTILINE)
_NOT_CODE = ("__all__", "__version__")
_EXPORTERS = ("__getattr__", "__dir__")


# --- Hashes of values ---


def json_digest(content: Any, *, default: Callable[[Any], Any] | None = None, allow_nan: bool = True) -> str:
    """Return the SHA-256 (hex) of a value as JSON with sorted keys; other arguments as of `json.dumps`."""
    return text_digest(json_text(content, default=default, allow_nan=allow_nan))


def json_text(content: Any, *, default: Callable[[Any], Any] | None = None, allow_nan: bool = True) -> str:
    """Return the JSON that `json_digest` hashes."""
    return json.dumps(content, sort_keys=True, default=default, allow_nan=allow_nan)


def text_digest(text: str) -> str:
    """Return the SHA-256 (hex) of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


# --- Sources ---

# What a module imports: the binding (scope, bound name, symbol), and what it resolves to: the name of a
# module of ours or of a library, or `_SHOWN`.
Edge = tuple[str, str]


@dataclass(frozen=True)
class SourceTree:
    """The modules that a closure can reach: dotted name -> source text, and which of them are packages."""

    texts: Mapping[str, str]
    packages: frozenset[str]
    _read: dict[tuple[str, str], Resolved] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def at(cls, folders: Mapping[str, Path]) -> SourceTree:
        """Return what lies in the folders of some packages, by the name of the package."""
        texts, packages = {}, set()
        for package, folder in folders.items():
            for path in sorted(folder.rglob("*.py")):
                parts = (package, *path.relative_to(folder).with_suffix("").parts)
                if parts[-1] == "__init__":
                    parts = parts[:-1]
                    packages.add(".".join(parts))
                texts[".".join(parts)] = path.read_text(encoding="utf-8")
        return cls(texts, frozenset(packages))

    @classmethod
    def installed(cls) -> SourceTree:
        """Return the sources that this process runs."""
        return cls.at({name: found for name in PACKAGES if (found := _folder(name)) is not None})

    def edited(self, **changes: str) -> SourceTree:
        """Return the same with other texts, by dotted name."""
        same = changes.keys() <= self.texts.keys() and self.packages.isdisjoint(changes)
        return SourceTree({**self.texts, **changes}, self.packages, self._read if same else {})

    def resolved(self, module: str) -> Resolved:
        """Return a module with its imports resolved; CodeError where a name cannot be."""
        key = module, self.texts[module]
        if key not in self._read:
            self._read[key] = Resolved(self.facts(module).digest, tuple(sorted(_edges(module, self))))
        return self._read[key]

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all texts as they are, by name."""
        return json_digest(dict(self.texts))

    def facts(self, module: str) -> Facts:
        """Return what counts of a module."""
        table = tuple(plugs.table[1] for plugs in PLUGS.values() if plugs.table and plugs.table[0] == module)
        try:
            return _facts(self.texts[module], module in self.packages, table)
        except SyntaxError as error:
            raise CodeError(f"{module}: cannot be parsed: {error}; its hash cannot be computed") from error


def _folder(package: str) -> Path | None:
    if package == "lockstep":
        return Path(__file__).resolve().parent
    found = find_spec(package)
    return Path(found.origin).resolve().parent if found and found.origin else None


# --- One module ---


class Resolved(NamedTuple):
    """A module: the digest of everything but its imports, and these, sorted."""

    digest: str
    edges: tuple[Edge, ...]


@dataclass(frozen=True)
class Import:
    """A name that a module binds to another module, or to something in it.

    scope    functions and classes around the statement
    local    the bound name; empty for a module that is loaded by its name in a string
    module   dotted, relative to the importing one where `level` is above 0; symbol   None: the module itself
    """

    scope: str
    local: str
    level: int
    module: str
    symbol: str | None


@dataclass(frozen=True)
class Facts:
    """What counts of a module: a digest of everything but its imports, these, and the names that it defines.

    typed   imports for type checkers: they are no code, but say where a package exports a name from
    used    attribute names that are read from each bound name
    """

    digest: str
    imports: tuple[Import, ...]
    typed: tuple[Import, ...]
    defined: frozenset[str]
    used: Mapping[str, frozenset[str]] = field(default_factory=dict)


@functools.cache
def _facts(text: str, is_package: bool, tables: tuple[str, ...]) -> Facts:
    tree = ast.parse(text)
    if is_package:
        tree.body = [each for each in tree.body if not _exports(each)]
    listed = _take_tables(tree, tables)
    reader = _Reader(strings=not is_package)
    reader.read(tree)
    found = reader.imports
    if listed:
        kept = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        found = [each for each in found if each.local not in listed or each.local in kept]
    return Facts(
        digest=hashlib.sha256("\n".join(reader.parts).encode("utf-8", "surrogatepass")).hexdigest(),
        imports=tuple(found),
        typed=tuple(reader.typed),
        defined=frozenset(_defined(tree)),
        used={name: frozenset(read) for name, read in reader.attributes.items()},
    )


def _exports(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name in _EXPORTERS


def _take_tables(tree: ast.Module, tables: tuple[str, ...]) -> set[str]:
    """Take the assignments that list plugs out of a module; return the names that they read."""
    listed: set[str] = set()
    body = []
    for each in tree.body:
        if tables and set(_targets(each)) & set(tables):
            listed |= {node.id for node in ast.walk(each) if isinstance(node, ast.Name)}
        else:
            body.append(each)
    tree.body = body
    return listed


def _targets(node: ast.stmt) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    yield from (each.id for each in targets if isinstance(each, ast.Name))


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


class _Reader:
    """Writes a syntax tree as text that does not depend on layout, comments, docstrings or Python's version.

    strings   whether a string that is the name of a module counts as an import of it
    """

    def __init__(self, *, strings: bool) -> None:
        self.parts: list[str] = []
        self.imports: list[Import] = []
        self.typed: list[Import] = []
        self.attributes: dict[str, set[str]] = {}
        self._strings = strings
        self._scope: tuple[str, ...] = ()

    def read(self, node: ast.AST) -> None:
        """Take in a node with everything below it."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.imports += self._imports(node)
            return
        if isinstance(node, ast.Constant):
            self._constant(node.value)
            return
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            self.attributes.setdefault(node.value.id, set()).add(node.attr)
        self.parts.append(type(node).__name__)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._scope += (node.name,)
            self._fields(node)
            self._scope = self._scope[:-1]
        else:
            self._fields(node)
        self.parts.append(")")

    def _fields(self, node: ast.AST) -> None:
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == []:
                continue
            self.parts.append(name)
            if isinstance(value, list):
                for each in value:
                    self._item(each)
                self.parts.append("]")
            elif isinstance(value, ast.AST):
                self.read(value)
            else:
                self.parts.append(repr(value))

    def _item(self, item: Any) -> None:
        if not isinstance(item, ast.AST):
            self.parts.append(repr(item))
        elif isinstance(item, ast.If) and _for_type_checkers(item.test):
            for each in ast.walk(ast.Module(body=item.body, type_ignores=[])):
                if isinstance(each, ast.Import | ast.ImportFrom):
                    self.typed += self._imports(each)
            for each in item.orelse:
                self._item(each)
        elif not _says_nothing(item):
            self.read(item)

    def _imports(self, node: ast.Import | ast.ImportFrom) -> Iterator[Import]:
        scope = ".".join(self._scope)
        for each in node.names:
            if isinstance(node, ast.ImportFrom):
                yield Import(scope, each.asname or each.name, node.level, node.module or "", each.name)
            else:
                local = each.asname or each.name.partition(".")[0]
                yield Import(scope, local, 0, each.name, None)

    def _constant(self, value: Any) -> None:
        if self._strings and isinstance(value, str):
            named = [value.partition(":")[0], *_IMPORT_IN_TEXT.findall(value)]
            scope = ".".join(self._scope)
            self.imports += [
                Import(scope, "", 0, each, None) for each in named if each.partition(".")[0] in PACKAGES
            ]
        self.parts.append(f"{type(value).__name__} {value!r}")


def _for_type_checkers(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _says_nothing(node: ast.AST) -> bool:
    """Whether a statement is a docstring (of an attribute, too), exports names, or names the version."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.stmt) and any(name in _NOT_CODE for name in _targets(node))


# --- Closures ---


def closure(roots: Iterable[str], sources: SourceTree) -> Mapping[str, Resolved]:
    """Return the modules that some root modules reach, roots included.

    CodeError where a module is missing or a name cannot be resolved.
    """
    found: dict[str, Resolved] = {}
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        if module not in sources.texts:
            raise CodeError(f"{module}: no such module; the roots are declared in lockstep/identity.py")
        found[module] = sources.resolved(module)
        waiting += [target for _, target in found[module].edges if target in sources.texts]
    return found


def _edges(module: str, sources: SourceTree) -> Iterator[Edge]:
    facts = sources.facts(module)
    for each in facts.imports:
        if not each.local and (each.module not in sources.texts or each.module in sources.packages):
            continue
        name, symbol = _absolute(module, each, sources), each.symbol
        if symbol is not None and f"{name}.{symbol}" in sources.texts:
            name, symbol = f"{name}.{symbol}", None
        whole = symbol is None and name in sources.packages
        for one in sorted(facts.used.get(each.local, ())) if whole else (symbol,):
            target = _resolved(name, one, sources, module)
            if target is not None:
                yield f"{each.scope} {each.local} {one or ''}", target


def _absolute(module: str, each: Import, sources: SourceTree) -> str:
    if not each.level:
        return each.module
    parts = module.split(".")
    parts = parts[: len(parts) - each.level + (module in sources.packages)]
    return ".".join((*parts, each.module) if each.module else parts)


def _resolved(name: str, symbol: str | None, sources: SourceTree, importer: str) -> str | None:
    """Return the module that an imported name is of; None where it says nothing about code."""
    if name.partition(".")[0] not in PACKAGES:
        return name
    if symbol is not None and f"{name}.{symbol}" in sources.texts:
        name, symbol = f"{name}.{symbol}", None
    if _is_below(name, SHOWS):
        return _SHOWN
    if name not in sources.texts:
        raise CodeError(
            f"{importer}: imports {name}, of which there is no source; its hash cannot be computed"
        )
    if symbol is None or name not in sources.packages:
        return name
    return _exported(name, symbol, sources, importer)


def _exported(package: str, symbol: str, sources: SourceTree, importer: str) -> str | None:
    """Return the module that a package has a name from: the package itself, or what it imports it from."""
    if symbol in _NOT_CODE:
        return None
    facts = sources.facts(package)
    for each in (*facts.imports, *facts.typed):
        if each.local == symbol and not each.scope:
            return _resolved(_absolute(package, each, sources), each.symbol, sources, package)
    if symbol in facts.defined:
        return package
    if symbol.startswith("__") and symbol.endswith("__"):
        return None
    raise CodeError(
        f"{importer}: imports {symbol} from {package}, which does not say where it has it from; import it "
        "there under TYPE_CHECKING"
    )


@functools.lru_cache(maxsize=4096)
def _is_below(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


# --- Hashes of code ---


def code_hash(root: str, sources: SourceTree | None = None) -> str:
    """Return the hash of the code that a root of `ROOTS` reaches, as of `hash_of`.

    sources   None: those that this process runs

    CodeError where a source cannot be read or resolved.
    """
    return hash_of(ROOTS[root], sources) if sources else _hash_here(root, ROOTS[root])


@functools.cache
def _hash_here(name: str, roots: tuple[str, ...]) -> str:
    """Return the hash of some roots, from the user's cache where these very sources were parsed before."""
    sources = _installed()
    kept = cache_root() / "identity" / f"{sources.digest[:_KEY]}-{name}"
    with suppress(OSError, ValueError):
        found = kept.read_text(encoding="ascii")
        if _HASH.fullmatch(found):
            return found
    found = hash_of(roots, sources)
    with suppress(OSError):
        _keep(kept, found)
    return found


def _keep(path: Path, text: str) -> None:
    """Write a small file in one step, and drop the oldest beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable=False) as temporary:
        temporary.write_text(text, encoding="ascii")
    for stale in sorted(path.parent.iterdir(), key=lambda each: each.stat().st_mtime)[:-_KEPT]:
        stale.unlink(missing_ok=True)


def cache_root() -> Path:
    """Return the folder of all caches: `LOCKSTEP_CACHE_DIR`, or the user's cache folder."""
    declared = os.environ.get("LOCKSTEP_CACHE_DIR")
    if declared:
        return Path(declared)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lockstep"


@functools.cache
def _installed() -> SourceTree:
    return SourceTree.installed()


def is_changed_on_disk() -> bool:
    """Whether a source is not what it was when this process first read it: new processes run other code.

    Sources are read again only where a file has another time, size or inode than when they were last.
    """
    folders = (found for name in PACKAGES if (found := _folder(name)) is not None)
    return _differs_from_first(frozenset(stamp for folder in folders for stamp in _stamps(folder)))


@functools.lru_cache(maxsize=1)
def _differs_from_first(stamps: frozenset[tuple[str, int, int, int]]) -> bool:
    """Return whether the sources differ from those that were read first; `stamps` were taken before."""
    return SourceTree.installed().digest != _installed().digest


def _stamps(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    """Yield path, time of change in ns, size and inode of every source below a folder."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(place, name)
                found = os.stat(path)
                yield path, found.st_mtime_ns, found.st_size, found.st_ino


def plug_modules(kind: str, sources: SourceTree | None = None) -> Mapping[str, str]:
    """Return the modules of the plugs of a kind of `PLUGS`, by the last part of their name."""
    sources, package = sources or _installed(), PLUGS[kind].package
    inside = (each for each in sources.texts if each.rpartition(".")[0] == package)
    return {each.rpartition(".")[2]: each for each in sorted(inside)}


@functools.cache
def plug_hash(module: str) -> str:
    """Return the hash of the code that one plug reaches: of the plug that is used, wherever it is.

    module   dotted name; a plug from outside the project is its own closure
    """
    sources = _installed()
    if module in sources.texts:
        return _hash_here(module, (module,))
    path = _source_of(module)
    return hash_of((module,), sources.edited(**{module: path.read_text(encoding="utf-8")}))


def _source_of(module: str) -> Path:
    with suppress(ImportError, ValueError):
        found = find_spec(module)
        if found is not None and found.origin is not None and found.has_location:
            return Path(found.origin)
    raise CodeError(f"{module}: no source of such a module; its hash cannot be computed")


def hash_of(roots: Iterable[str], sources: SourceTree | None = None) -> str:
    """Return the hash of the closure of some modules: 64 characters, the first of them the scheme.

    Modules have no names in it: each is known by its content and, in turn, by that of what it imports, as in
    the refinement of colours by Weisfeiler and Leman. Two modules that change places with each other and
    with their importers are the same code; two that change their contents only are other code.
    """
    sources = sources or _installed()
    roots = tuple(roots)
    modules = closure(roots, sources)
    labels = {name: module.digest for name, module in modules.items()}
    kinds = len(set(labels.values()))
    while True:
        labels = {name: _label(module, labels) for name, module in modules.items()}
        if len(set(labels.values())) == kinds:
            break
        kinds = len(set(labels.values()))
    rows = sorted(f"root {labels[each]}" for each in set(roots)) + sorted(labels.values())
    return _SCHEME + text_digest("\n".join(rows))[:_DIGITS]


def with_used(code: str, used: Mapping[str, str]) -> str:
    """Return the hash of a root together with the plugs that are used with it, by name; without any, its own.

    used   what names a plug -> its own hash, as `feature rsi_2` -> its fingerprint
    """
    return _SCHEME + json_digest([code, used])[:_DIGITS] if used else code


def only_proves(recorded: str) -> str:
    """Return what a recorded code hash can still prove; empty where it compares with those made now."""
    if recorded.startswith(_SCHEME):
        return ""
    if not recorded:
        return "no code hash was recorded: it proves nothing about the code"
    return (
        "its code hash is that of an earlier version, over every source file as it was: it proves which files"
        " made it, and cannot tell whether the code that decides has changed since"
    )


def _label(module: Resolved, labels: Mapping[str, str]) -> str:
    rows = sorted(f"{binding} {labels.get(target, target)}" for binding, target in module.edges)
    return text_digest("\n".join((module.digest, *rows)))


# --- Libraries, lock file, machine ---


def checkout_root() -> Path | None:
    """Return the folder of the checkout that this code is of, None where it is installed from a wheel."""
    root = Path(__file__).resolve().parents[1]
    return root if (root / "setup.cfg").is_file() else None


def code_revision(root: Path | None) -> str:
    """Return the commit that is checked out at `root`, or "" where git knows of none."""
    if root is None:
        return ""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def lock_hash(lock: Path | None = None) -> str:
    """Return the SHA-256 (hex) of a lock file, by default the checkout's; empty where there is none."""
    root = checkout_root()
    path = lock or (None if root is None else root / LOCK)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path and path.is_file() else ""


def library_versions(names: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Return the versions of distributions, of those that are installed, sorted by name."""
    found = {name: _version(name) for name in sorted(names)}
    return {name: each for name, each in found.items() if each is not None}


@functools.cache
def _version(name: str) -> str | None:
    """Return the version of a distribution, None for one that is not installed; read once a process."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def training_versions() -> dict[str, str]:
    """Return the versions that decide the bits of a trained model: Python's, and the libraries' installed."""
    return {"python": platform.python_version(), **library_versions(TRAINING_LIBRARIES)}


def hashes() -> dict[str, Any]:
    """Return everything that names this installation, ready for JSON.

    `code`: root -> hash; `lock`: of the lock file, empty beside an installed wheel; `python`, `libraries`:
    versions, of those that take part in a decision.
    """
    return {
        "code": {root: code_hash(root) for root in ROOTS},
        "lock": lock_hash(),
        "python": platform.python_version(),
        "libraries": library_versions(),
    }
