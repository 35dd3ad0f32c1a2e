"""`deploy/CHECKLIST.md`: the checks on a model as a page for whoever promotes it, made from the registry."""

from __future__ import annotations

from research.model_validation.case import ModelCase, StrategyCase, ValidationCase
from research.model_validation.check import GROUPS, ModelCheck
from research.model_validation.checks import CHECKS

_HEAD = """# Before a model trades

Generated from the checks in `research/model_validation/`; do not edit. To renew it:

    python -m research.model_validation.checklist > deploy/CHECKLIST.md

`lockstep validate ES --version v3` runs all checks, writes a report and attaches the verdict to the manifest.
It also freezes the reference, what a desk will be held to: floors of alarms, histories for drift, regimes.
Limits are set under `acceptance` in `configs/training/<SYMBOL>.yml`. A value that cannot be measured does not
pass. The hold-out is opened only for a model that passed everything else.

## Checked by the machine

"""

_TAIL = """
## Checked by the person who promotes

- [ ] Was the parity certificate issued on the host that will trade, over bars like those that the model will
      see? `policy.json` sets its minimum size.
- [ ] Have you read the card *Frozen reference* of the validation report: which streams are off, and how often
      is drift false?
- [ ] Have you read the training report, and could you have lived with the result of each window?
- [ ] Does the promotion's reason say what should improve, and when that will be judged?
- [ ] Do you know which version to roll back to, and does its file match the manifest
      (`lockstep models list`)?
- [ ] Will the first weeks run in mode paper or shadow, behind the kill switch?
"""

_WHOM: dict[type[ValidationCase], str] = {
    ModelCase: "With a model only.",
    StrategyCase: "Without a model only.",
}


def checklist() -> str:
    """Return the page, Markdown."""
    return _HEAD + "\n".join(_part(group) for group in GROUPS) + _TAIL


def _part(group: str) -> str:
    lines = (_line(each) for each in CHECKS.values() if each.group == group)
    return f"### {GROUPS[group].capitalize()}\n\n" + "\n".join(lines) + "\n"


def _line(check: ModelCheck) -> str:
    limit = f" (`{check.limit}`)" if check.limit else ""
    whom = "" if check.of is None else f" {_WHOM[check.of]}"
    return f"- [ ] **{check.name}**: {check.asks}{limit}{whom}"


if __name__ == "__main__":
    print(checklist(), end="")
