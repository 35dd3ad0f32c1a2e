"""What people should hear of retrainings: one waits for them, one failed, one was taken back."""

from __future__ import annotations

from collections.abc import Iterator

from operations.retraining.book import ENDED_BADLY, RetrainingBook, RetrainingRun, awaits_approval
from operations.watch.telling import News


def news_of(book: RetrainingBook) -> Iterator[News]:
    """Yield what holds now of each symbol's newest run, each under one subject for good.

    So a message that a kill kept from being sent is sent by the next pass, and none twice.
    """
    looks = {each.run: each for each in book.looks()}
    for run in {each.symbol: each for each in book.runs()}.values():
        last = run.steps[-1]
        if run.now in ENDED_BADLY:
            yield _news(run, str(run.now), f"{run.now}: {last.sentence}")
        elif awaits_approval(run, look := looks.get(run.id)):
            assert look is not None
            said = (
                f"{run.output('version')} is {look.verdict} on {look.signals} signals and waits for "
                f"approval: lockstep retrain approve {run.id}, or abort {run.id} --reason WHY"
            )
            yield _news(run, "waits", said)


def _news(run: RetrainingRun, what: str, said: str) -> News:
    sentence = said if said.startswith(f"{run.symbol}:") else f"{run.symbol}: {said}"
    return News(f"retraining {run.id} {what}", "retraining", sentence)
