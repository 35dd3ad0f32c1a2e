"""Which code this is: the closure, what counts of a module, and that every edit of deciding code is seen."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lockstep import identity
from lockstep.errors import CodeError
from lockstep.identity import (
    CERTIFYING,
    DECIDING,
    PLUGS,
    READING,
    ROOTS,
    TRAINING,
    TRIALS,
    PlugFolder,
    SourceTree,
    closure,
    code_hash,
    hash_of,
)

HERE = SourceTree.installed()
DECIDES = """
from __future__ import annotations
from typing import TYPE_CHECKING
from lockstep.rules import Rule, limit
if TYPE_CHECKING:
    from lockstep.pages import Page

class Decision:
    rule: Rule

    def take(self, value: float) -> bool:
        from lockstep import later
        return later.at(value) < limit
"""
SMALL = {
    "lockstep": "def __getattr__(name):\n    raise AttributeError(name)\n",
    "lockstep.decides": DECIDES,
    "lockstep.rules": "from lockstep.inner import limit\nclass Rule:\n    pass\n",
    "lockstep.inner": "limit = 3.0\n",
    "lockstep.later": "def at(value):\n    return value * 2\n",
    "lockstep.pages": "Page = 1\n",
    "lockstep.unread": "x = 1\n",
}


def small(**changes: str) -> SourceTree:
    """Return a small package, parts of it replaced: `lockstep_rules` is the module `lockstep.rules`."""
    texts = SMALL | {name.replace("_", "."): text for name, text in changes.items()}
    return SourceTree(texts, frozenset({"lockstep"}))


def digest(sources: SourceTree) -> str:
    return hash_of(("lockstep.decides",), sources)


@functools.cache
def planted(text: str) -> str:
    """Return the text with one deciding edit: a comparison, a number or, where there is none, a statement."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Lt | ast.Gt):
            node.ops[0] = ast.LtE() if isinstance(node.ops[0], ast.Lt) else ast.GtE()
            return ast.unparse(tree)
        if isinstance(node, ast.Constant) and type(node.value) is int:
            node.value += 1
            return ast.unparse(tree)
    return f"{text}\n_planted = 1\n"


def everywhere(sources: SourceTree) -> dict[str, str]:
    return {root: code_hash(root, sources) for root in ROOTS}


class TestEveryEdit:
    """Over the real sources: what decides counts, what only reads well does not."""

    @pytest.mark.no_cover
    @pytest.mark.parametrize("root", list(ROOTS))
    def test_of_deciding_code_in_any_module_of_the_closure_changes_the_hash(self, root: str) -> None:
        before, unseen = code_hash(root, HERE), []
        for module in closure(ROOTS[root], HERE):
            other = HERE.edited(**{module: planted(HERE.texts[module])})
            if code_hash(root, other) == before:
                unseen.append(module)
        assert unseen == []

    @pytest.mark.no_cover
    def test_of_anything_else_changes_none(self) -> None:
        """Every docstring and comment of the tree is edited at once, every file laid out anew."""
        texts = {}
        for module, text in HERE.texts.items():
            tree = ast.parse(text)
            for node in ast.walk(tree):
                if isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str):
                    node.value = ast.Constant("Other words.")
            texts[module] = f"# A comment.\n{ast.unparse(tree)}\n\n\n# Another.\n"
        other = SourceTree(texts, HERE.packages)
        assert everywhere(other) == everywhere(HERE)

    @pytest.mark.parametrize(
        ("module", "old", "new", "roots"),
        [
            ("lockstep.market.dates", 'side="right"', 'side="left"', (TRIALS, TRAINING)),
            ("research.splits.walk_forward", "count * DAY", "count * DAY // 2", (TRIALS, TRAINING)),
            ("lockstep.strategy.matching", "<=", "<", (DECIDING, TRIALS, TRAINING, CERTIFYING)),
        ],
        ids=["last session", "a day", "fills"],
    )
    def test_that_went_unseen_by_lists_of_files(
        self, module: str, old: str, new: str, roots: tuple[str, ...]
    ) -> None:
        text = HERE.texts[module]
        assert old in text
        other = HERE.edited(**{module: text.replace(old, new)})
        for root in roots:
            assert code_hash(root, other) != code_hash(root, HERE), root

    @pytest.mark.parametrize(
        "module",
        ["lockstep.live.status.status", "lockstep.live.status.monitor", "lockstep.live.status.watcher",
         "research.report.theme", "research.report.style", "certify.page",
         "lockstep.models.listing", "lockstep.monitoring.discord", "research.experiments.report"],
    )  # fmt: skip
    def test_of_a_table_or_a_page_stops_no_desk_and_voids_no_certificate(self, module: str) -> None:
        other = HERE.edited(**{module: HERE.texts[module] + "\n_COLOUR = 'red'\n"})
        for root in (DECIDING, TRIALS, TRAINING, CERTIFYING):
            assert code_hash(root, other) == code_hash(root, HERE), root


class TestClosure:
    """What an import resolves to."""

    def test_follows_imports_at_the_top_and_in_functions_but_not_those_for_type_checkers(self) -> None:
        assert set(closure(("lockstep.decides",), small())) == {
            "lockstep.decides", "lockstep.rules", "lockstep.inner", "lockstep.later"
        }  # fmt: skip

    @pytest.mark.parametrize(
        "statement",
        [
            "import lockstep.inner",
            "import lockstep.inner as renamed",
            "from lockstep import inner",
            "from . import inner",
            "from .inner import limit",
            "def f():\n    from .inner import limit",
            "x = 'lockstep.inner'",
            "x = 'lockstep.inner:limit'",
            "x = f'import math\\nfrom lockstep.inner import {1}'",
        ],
    )  # fmt: skip
    def test_takes_every_way_to_name_a_module(self, statement: str) -> None:
        found = closure(("lockstep.decides",), small(lockstep_decides=statement))
        assert set(found) == {"lockstep.decides", "lockstep.inner"}

    def test_a_package_counts_by_the_module_that_it_has_a_name_from(self) -> None:
        lazy = (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lockstep.later import at\n"
            "from lockstep.unread import x\n__all__ = ['at']\n"
        )
        sources = SourceTree(
            {**small(lockstep_decides="from lockstep import at").texts, "lockstep": lazy},
            frozenset({"lockstep"}),
        )
        assert set(closure(("lockstep.decides",), sources)) == {"lockstep.decides", "lockstep.later"}

    @pytest.mark.parametrize(
        ("statement", "words"),
        [
            ("from lockstep import gone", "does not say where"),
            ("import lockstep.gone", "no source"),
            ("def f(:", "cannot be parsed"),
        ],
    )
    def test_what_cannot_be_resolved_is_refused(self, statement: str, words: str) -> None:
        with pytest.raises(CodeError, match=words):
            digest(small(lockstep_decides=statement))

    def test_an_unknown_root_is_refused(self) -> None:
        with pytest.raises(CodeError, match="no such module"):
            hash_of(("lockstep.gone",), small())


class TestDeclarations:
    """A name that is gone would end no closure any more, and nobody would notice."""

    def test_everything_that_is_declared_exists(self) -> None:
        tables = [folder.table for folder in PLUGS.values() if folder.table]
        named = [*identity.SHOWS, *(module for modules in ROOTS.values() for module in modules)]
        named += [folder.package for folder in PLUGS.values()] + [module for module, _ in tables]
        assert [name for name in named if name not in HERE.texts] == []
        assert len(set(identity.SHOWS)) == len(identity.SHOWS)
        for module, name in tables:
            without = HERE.facts(module).defined
            assert name not in without, f"{module}.{name} lists plugs and must not count"
            assert f"\n{name}" in HERE.texts[module]


class TestNames:
    """File names and folders carry no meaning; what is wired to what does."""

    def test_a_module_that_moves_is_the_same_code(self) -> None:
        texts = {
            name: text.replace("lockstep.inner", "research.deep") for name, text in small().texts.items()
        }
        texts["research.deep"] = texts.pop("lockstep.inner")
        moved = SourceTree({**texts, "research": ""}, frozenset({"lockstep", "research"}))
        assert digest(moved) == digest(small())

    def test_an_import_from_the_package_is_the_import_from_its_module(self) -> None:
        through = DECIDES.replace(
            "from lockstep.rules import Rule, limit", "from lockstep import Rule, limit"
        )
        texts = {
            **small(lockstep_decides=through).texts,
            "lockstep": "from lockstep.rules import Rule, limit\n",
        }
        assert digest(SourceTree(texts, frozenset({"lockstep"}))) == digest(small())

    def test_the_order_of_imports_is_none(self) -> None:
        one = "from lockstep.inner import limit\nfrom lockstep.later import at\n"
        other = "from lockstep.later import at\nfrom lockstep.inner import limit\n"
        assert digest(small(lockstep_decides=one)) == digest(small(lockstep_decides=other))

    def test_modules_that_swap_their_contents_are_other_code(self) -> None:
        """Each file is still there, byte by byte, but calls go elsewhere."""
        calls = "from lockstep.inner import at\nfrom lockstep.later import at as second\n"
        first, second = "def at(x):\n    return x\n", "def at(x):\n    return -x\n"
        one = small(lockstep_decides=calls, lockstep_inner=first, lockstep_later=second)
        other = small(lockstep_decides=calls, lockstep_inner=second, lockstep_later=first)
        assert digest(one) != digest(other)

    def test_a_library_counts_by_its_name(self) -> None:
        one, other = "from numpy import median as mean\n", "from numpy import mean\n"
        assert digest(small(lockstep_decides=one)) != digest(small(lockstep_decides=other))


class TestPlugs:
    """What is found by name enters where it is used, by its own hash."""

    def test_a_new_feature_changes_no_hash(self) -> None:
        new = {"lockstep.features.catalogue.moons": "from lockstep.features.feature import feature\n"}
        other = SourceTree({**HERE.texts, **new}, HERE.packages)
        assert everywhere(other) == everywhere(HERE)

    def test_a_new_line_in_a_table_of_plugs_changes_no_hash(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rest = "def get(name):\n    return TABLE[name]\nRule = limit = 1\n"
        one = small(lockstep_rules=f"from lockstep import later\nTABLE = {{'a': later}}\n{rest}")
        more = f"from lockstep import later, unread\nTABLE = {{'a': later, 'b': unread}}\n{rest}"
        other = small(lockstep_rules=more)
        assert digest(one) != digest(other)
        declared = {"toy": PlugFolder(package="lockstep", table=("lockstep.rules", "TABLE"))}
        monkeypatch.setattr(identity, "PLUGS", declared)
        identity._facts.cache_clear()
        assert digest(SourceTree(one.texts, one.packages)) == digest(SourceTree(other.texts, other.packages))
        assert "lockstep.unread" not in closure(
            ("lockstep.decides",), SourceTree(other.texts, other.packages)
        )

    @pytest.mark.parametrize(
        ("registry", "table", "listed"),
        [
            ("lockstep.live.feeds.registry", "FEEDS", "ReplayFeedSettings,"),
            ("lockstep.live.brokers.registry", "BROKERS", "TradersPostConfig,"),
            ("lockstep.monitoring.registry", "SINKS", "LogSinkSettings,"),
        ],
    )
    def test_a_new_feed_broker_or_sink_changes_no_hash(self, registry: str, table: str, listed: str) -> None:
        text, toy = HERE.texts[registry], f"{registry.rpartition('.')[0]}.toy"
        assert listed in text.partition(table)[2]
        joined = text.replace("from lockstep.plugs", f"from {toy} import Toy\nfrom lockstep.plugs")
        joined = joined[::-1].replace(listed[::-1], f"{listed} Toy,"[::-1], 1)[::-1]
        other = SourceTree({**HERE.texts, registry: joined, toy: "class Toy:\n    pass\n"}, HERE.packages)
        assert everywhere(other) == everywhere(HERE)
        control = HERE.edited(**{registry: f"{joined}\n{table}.clear()\n", toy: "class Toy:\n    pass\n"})
        assert (code_hash(DECIDING, control) != code_hash(DECIDING, HERE)) is (table != "SINKS")

    def test_the_folders_are_found(self) -> None:
        for kind, folder in PLUGS.items():
            found = identity.plug_modules(kind, HERE)
            assert found
            assert all(module.startswith(f"{folder.package}.") for module in found.values())
        assert "trend" in identity.plug_modules("feature", HERE)

    def test_a_plug_has_a_hash_of_its_own_also_from_outside(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inside = identity.plug_hash("lockstep.features.catalogue.trend")
        assert inside != identity.plug_hash("lockstep.features.catalogue.volume")
        (tmp_path / "desk_family.py").write_text("from lockstep.strategy.matching import match\n")
        monkeypatch.syspath_prepend(tmp_path)
        assert len(identity.plug_hash("desk_family")) == 64
        for gone in ("desk_gone", "desk_gone.part", "__main__"):
            with pytest.raises(CodeError, match="no source of such a module"):
                identity.plug_hash(gone)


class TestHere:
    """What this process is."""

    def test_everything_is_json(self) -> None:
        found = json.loads(json.dumps(identity.hashes()))
        assert set(found) == {"code", "lock", "python", "libraries"}
        assert set(found["code"]) == set(ROOTS)
        assert {len(each) for each in found["code"].values()} == {64}
        assert "numpy" in found["libraries"]

    def test_a_hash_is_kept_for_these_very_sources_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path))
        identity._hash_here.cache_clear()
        first = code_hash(READING)
        (kept,) = (tmp_path / "identity").iterdir()
        assert kept.read_text() == first
        kept.write_text("damaged")
        identity._hash_here.cache_clear()
        assert code_hash(READING) == first == kept.read_text()
        other = HERE.edited(**{"lockstep.market.reading.files": "x = 1\n"})
        monkeypatch.setattr(identity, "_installed", lambda: other)
        identity._hash_here.cache_clear()
        assert code_hash(READING) != first
        identity._hash_here.cache_clear()

    def test_code_that_changes_on_the_disk_is_noticed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "rules.py").write_text("limit = 1\n")
        folders = {"lockstep": tmp_path}
        monkeypatch.setattr(identity, "_folder", folders.get)
        before = SourceTree.installed()
        monkeypatch.setattr(identity, "_installed", lambda: before)
        identity._differs_from_first.cache_clear()
        assert not identity.is_changed_on_disk()
        (tmp_path / "rules.py").touch()
        assert not identity.is_changed_on_disk()
        # As long as it was, in a file of the same name: its time tells.
        (tmp_path / "rules.py").write_text("limit = 2\n")
        assert identity.is_changed_on_disk()
        (tmp_path / "rules.py").write_text("limit = 1\n")
        assert not identity.is_changed_on_disk()
        (tmp_path / "more.py").write_text("")
        assert identity.is_changed_on_disk()
        identity._differs_from_first.cache_clear()

    def test_the_cache_folder_may_be_moved(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path / "declared"))
        assert identity.cache_root() == tmp_path / "declared"
        monkeypatch.delenv("LOCKSTEP_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert identity.cache_root() == tmp_path / "xdg" / "lockstep"
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert identity.cache_root() == Path.home() / ".cache" / "lockstep"

    def test_research_loads_nothing_that_shows(self) -> None:
        """What is declared to show is not needed by what is counted: it is loaded where somebody looks."""
        program = "import sys, research.sweep.run, research.training.train; print(sorted(sys.modules))"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        loaded = {name for name in ast.literal_eval(done.stdout) if identity._is_below(name, identity.SHOWS)}
        assert loaded == {"lockstep.identity"}

    def test_a_checkout_has_a_lock_file_and_a_revision(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = identity.checkout_root()
        assert root is not None
        assert len(identity.lock_hash()) == 64
        assert identity.lock_hash(tmp_path / "none") == identity.code_revision(None) == ""
        assert identity.code_revision(tmp_path) == ""

        def missing(*_: Any, **__: Any) -> None:
            raise FileNotFoundError("git")

        monkeypatch.setattr(subprocess, "run", missing)
        assert identity.code_revision(root) == ""

    def test_installed_from_a_wheel_there_is_no_checkout(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(identity, "__file__", str(tmp_path / "lockstep" / "identity.py"))
        assert identity.checkout_root() is None
        assert identity.lock_hash() == ""

    def test_libraries_that_are_not_installed_are_left_out(self) -> None:
        assert set(identity.library_versions(("numpy", "no-such-library"))) == {"numpy"}
        assert {"python", "numpy"} <= identity.training_versions().keys()


class TestEarlierVersions:
    """Their hashes are never equal to ours, and a reader is told what they prove."""

    @pytest.mark.parametrize("recorded", ["", "0" * 64, "c" * 64])
    def test_a_hash_of_theirs_is_known_and_put_into_words(self, recorded: str) -> None:
        assert "proves" in identity.only_proves(recorded)

    def test_one_of_ours_compares(self) -> None:
        assert identity.only_proves(code_hash(DECIDING)) == ""
        assert identity.only_proves(identity.with_used(code_hash(TRIALS), {"feature ibs": "0"})) == ""

    def test_what_is_used_counts_by_name_and_hash(self) -> None:
        code = code_hash(TRIALS)
        found = {identity.with_used(code, used) for used in ({}, {"a": "1"}, {"a": "2"}, {"b": "1"})}
        assert len(found) == 4
        assert code in found
