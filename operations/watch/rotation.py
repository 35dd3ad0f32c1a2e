"""What is written where an edge decays: a page, and a challenger's training file. Nothing is changed.

Training the challenger is a person's decision, by the usual command; it then counts in the ledger.
"""

from __future__ import annotations

import math
from pathlib import Path

import yaml

from lockstep.files import replace_file
from lockstep.models.bundle import Bundle
from lockstep.monitoring.decay import DecayVerdict
from research.training.config import TrainingConfig


def write_rotation(
    folder: Path, *, lane: str, bundle: Bundle, verdict: DecayVerdict, bars_per_session: int = 1
) -> tuple[Path, ...]:
    """Write `rotation-LANE.md`, and `rotation-LANE.yml` where a shorter hold can be trained; return both.

    verdict            of `lockstep.monitoring.decay.decay` for the lane
    bars_per_session   of the bars that the bundle decides on, >= 1

    Nothing is written, and nothing returned, where the verdict recommends nothing. The training file is that
    of the bundle with a maximum holding of the half-life's upper bound, in bars. There is none where the
    bundle does not know how it was trained, or holds for no longer already: the page then says so.
    ConfigError where the recorded training is none that this version reads.
    """
    said = verdict.recommendation(f"{lane}@{bundle.version}")
    if not said:
        return ()
    page, training = folder / f"rotation-{lane}.md", folder / f"rotation-{lane}.yml"
    config, next_step = _challenger(lane, bundle, verdict, bars_per_session)
    folder.mkdir(parents=True, exist_ok=True)
    if config is None:
        training.unlink(missing_ok=True)
        replace_file(page, _page(lane, verdict, said, next_step))
        return (page,)
    head = f"# {lane}@{bundle.version} with a shorter hold. Written by the monitor; nothing was trained.\n"
    content = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    replace_file(training, head + content)
    command = f"lockstep train --config {training}"
    replace_file(page, _page(lane, verdict, said, f"{next_step}\n\n```sh\n{command}\n```"))
    return page, training


def _challenger(
    lane: str, bundle: Bundle, verdict: DecayVerdict, bars_per_session: int
) -> tuple[TrainingConfig | None, str]:
    """Return the training of a challenger, None without one, and what to do."""
    recorded = bundle.training.get("config")
    if recorded is None:
        return None, "The bundle does not say how it was trained, so that no training file was written."
    known = TrainingConfig.recorded(recorded, where=f"training of {lane}@{bundle.version}")
    most = max(1, math.floor(verdict.high)) * bars_per_session
    held = known.strategy.max_bars
    if held is not None and held <= most:
        return None, (
            f"It holds for at most {held} bars already, so that a shorter hold is no remedy; look for other "
            "features, or retire it."
        )
    strategy = {**known.strategy.model_dump(mode="json"), "max_bars": most}
    before = "no limit" if held is None else f"at most {held} bars"
    return known.replaced(strategy=strategy), (
        f"The challenger holds for at most {most} bars ({before} until now). To train and register it, with "
        "each step a trial in the ledger:"
    )


def _page(lane: str, verdict: DecayVerdict, said: str, next_step: str) -> str:
    coefficients = ", ".join(f"{each:.3f}" for each in verdict.coefficients)
    return (
        f"# Rotation of {lane}\n\n{said}\n\n{next_step}\n\n"
        f"Observations at horizon 1: {verdict.observations}; p {verdict.p_value:.3f}. Information "
        f"coefficients by horizon: {coefficients}.\n"
    )
