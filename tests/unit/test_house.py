"""One home per concept: what would be a second one is named here."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

import pytest

from lockstep import errors
from support.sources import trees

# What is raised and caught within one module, and never reaches anybody else.
INTERNAL = {"AnswerTooLong", "Interrupted", "NodeFault", "OpenQuestion", "PickleFault"}


def planted(text: str) -> Mapping[str, ast.Module]:
    return {**trees(), "research/planted.py": ast.parse(text)}


def doubled(found: Mapping[str, ast.Module]) -> dict[str, list[str]]:
    """Return the public classes that stand for two things, with their files."""
    homes = defaultdict(list)
    for path, tree in found.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(path)
    return {name: paths for name, paths in homes.items() if len(paths) > 1}


def calls(found: Mapping[str, ast.Module], function: str) -> set[str]:
    """Return the files that call `function`, such as `os.replace`."""
    return {
        path
        for path, tree in found.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function
    }


def frozen_models(found: Mapping[str, ast.Module]) -> set[str]:
    """Return the files that declare, once more, what every model of settings is."""
    return {
        path
        for path, tree in found.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "ConfigDict"
        and {"frozen", "extra"} <= {each.arg for each in node.keywords}
    }


def exceptions(found: Mapping[str, ast.Module]) -> Iterator[tuple[str, str]]:
    """Yield the file and the name of every exception that is declared outside the tree of errors."""
    bases = {name for name, value in vars(errors).items() if isinstance(value, type)}
    bases |= {"Exception", "BaseException", "ValueError", "RuntimeError", "OSError"}
    for path, tree in found.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and path != "src/errors.py":
                if {ast.unparse(base) for base in node.bases} & bases and node.name not in INTERNAL:
                    yield path, node.name


def test_no_public_class_name_stands_for_two_things() -> None:
    assert doubled(trees()) == {}
    assert doubled(planted("class IbsConfig:\n    pass\n")) == {
        "IbsConfig": ["src/strategy/families/ibs.py", "research/planted.py"]
    }


def test_files_are_replaced_in_one_place() -> None:
    assert calls(trees(), "os.replace") == {"src/files.py"}
    assert "research/planted.py" in calls(planted("os.replace(a, b)\n"), "os.replace")


def test_settings_have_one_base() -> None:
    assert frozen_models(trees()) == {"src/settings.py"}
    assert "research/planted.py" in frozen_models(planted('x = ConfigDict(frozen=True, extra="forbid")\n'))


@pytest.mark.no_cover
@pytest.mark.parametrize("base", ["LiveError", "Exception"])
def test_there_is_one_tree_of_errors(base: str) -> None:
    assert list(exceptions(trees())) == []
    assert list(exceptions(planted(f"class Other({base}):\n    pass\n"))) == [
        ("research/planted.py", "Other")
    ]


def test_the_tree_that_is_drawn_is_the_tree_that_is() -> None:
    drawn = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ((?:│   |    )*)(?:[├└]── )?([A-Z]\w+)(?:  .*)?$", line)
        if found:
            depth = len(found[1]) // 4 + ("── " in line)
            above[depth:] = [found[2]]
            drawn[found[2]] = above[depth - 1] if depth else "Exception"
    declared = {
        name: value.__bases__[0].__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert drawn == declared
