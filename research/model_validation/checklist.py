"""`deploy/CHECKLIST.md`: the checks on a model as a page for whoever promotes it, made from the registry."""

from __future__ import annotations

from research.model_validation.case import Case, ModelCase, StrategyCase
from research.model_validation.check import ModelCheck
from research.model_validation.checks import CHECKS

_HEAD = """# Before a model trades

Generated from the checks of `research/validation/model`; do not edit. To renew it:

    python -m research.model_validation.checklist > deploy/CHECKLIST.md

`lockstep validate ES --version v3` asks all of this, writes a report and attaches the verdict
to the manifest. Limits stand under `acceptance` in `configs/training/<SYMBOL>.yml`. What could not be
measured has not passed. The hold-out is opened only for a model that passed everything else.

## Asked by the machine

"""

_TAIL = """
## Asked by whoever promotes

- [ ] Was the parity certificate issued on the host that will trade, over bars like those that the model will
      meet? The least that it must rest on stands in `policy.json`.
- [ ] Was the training report looked at, and is each window's result one that you would have borne?
- [ ] Does the reason of the promotion say what is expected to get better, and when that will be judged?
- [ ] Is the version to roll back to known, and does its file match the manifest (`lockstep models list`)?
- [ ] Will the first weeks run as paper or shadow, behind the kill switch?
"""

_WHOM: dict[type[Case], str] = {ModelCase: "With a model only.", StrategyCase: "Without a model only."}


def checklist() -> str:
    """Return the page, Markdown."""
    return _HEAD + "\n".join(_line(each) for each in CHECKS.values()) + "\n" + _TAIL


def _line(check: ModelCheck) -> str:
    limit = f" (`{check.limit}`)" if check.limit else ""
    whom = "" if check.of is None else f" {_WHOM[check.of]}"
    return f"- [ ] **{check.name}**: {check.asks}{limit}{whom}"


if __name__ == "__main__":
    print(checklist(), end="")
