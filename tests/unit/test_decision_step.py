"""One decision step: whoever decides about one bar calls it, and nobody has a copy of its rules."""

from __future__ import annotations

import ast

import certify.recorded
import lockstep.strategy.backtrader.strategy
from lockstep.strategy import step
from support.sources import trees

# What only the step may call: the rules of a decision, and what makes an order of it.
RULES = {"decide", "entry_order"}
# The compiled twins call the same kernels, of many variants or of one run; contract tests compare them with
# Backtrader; so is the stress loop, which reads the distances of stops and targets. How often a spec may
# enter is counted by asking `decide` at every bar while flat.
ALLOWED = {
    "src/strategy/step.py",
    "research/backtest/loop.py",
    "research/specs/occurrence.py",
    "research/stress/gaps.py",
    "research/sweep/kernels.py",
}


def callers(module: ast.Module) -> set[str]:
    """Return the rules that a module calls: by name, or as `decide` of a lane's rules or of a family."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else None
            if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name | ast.Attribute):
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else node.func.value.attr
                name = node.func.attr if owner in {"rules", "family"} else None
            if name in RULES:
                found.add(name)
    return found


def test_the_strategy_and_the_judge_of_recordings_take_the_same_step() -> None:
    assert certify.recorded.step is step.step
    assert lockstep.strategy.backtrader.strategy.step is step.step


def test_no_other_module_applies_the_rules() -> None:
    applying = {path for path, tree in trees().items() if callers(tree)}
    assert applying == ALLOWED


def test_a_copy_of_the_rules_would_be_noticed() -> None:
    judge = "def judged(rules, values):\n    return rules.decide(values, 0.5), entry_order(1.0, values, ())\n"
    assert callers(ast.parse(judge)) == RULES
    assert callers(ast.parse("self._quarantine.decide(key, end)\nexit_order(1.0)\n")) == set()
