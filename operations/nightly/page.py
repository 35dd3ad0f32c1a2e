"""A night as a page: what was done, what was found, who waits, what happened, and what nobody knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from operations.nightly.sessions import said_by_gate
from research.report import page
from research.report.page import Tile, count, percent, ratio, usd

Report = Mapping[str, Any]


def night_page(report: Report) -> Markup:
    """Return the body of the page of a night; `report` is the content of its report.json."""
    promoted = [each for each in report["events"] if each["kind"] in ("pilot", "full")]
    head = page.header(
        f"Night of {report['night']}",
        "What was searched, scored and decided",
        [f"{', '.join(report['symbols'])}"],
        lead=report["lead"],
        lead_class="loss" if report["troubles"] else "good" if promoted else "",
        verdict=report["sentence"],
    )
    return page.joined(
        head,
        page.caveats("Look at this first", list(report["troubles"])),
        page.key_figures(_tiles(report)),
        page.grid(list(_cards(report))),
    )


def _tiles(report: Report) -> Iterator[Tile]:
    variants = sum(each["variants"] for each in report["spaces"])
    budget = report["budget"]
    yield Tile("Variants tonight", count(variants), "evaluated, counted and stored")
    if sessions := report["sessions"]:
        tried = sum(each["trials"] for each in sessions)
        yield Tile("Strategies of agents", count(tried), f"tried in {_many(len(sessions), 'session')}")
    yield Tile("Winners in Backtrader", count(len(report["winners"])), "the same to the last bit")
    yield Tile("Registered tonight", count(len(report["registered"])), "for forward evidence")
    if budget:
        left = budget["of"] - budget["spent"]
        yield Tile("Registrations left", count(left), f"of {budget['of']} in {budget['year']}")
    yield Tile("Candidates waiting", count(len(report["candidates"])), "scored session by session")
    yield Tile("Events", count(len(report["events"])), "promoted, retired, at risk")
    if report["signals"]:
        total = report["signals"]
        known = ", ".join(f"{count(total[state])} {state}" for state in ("taken", "vetoed", "waiting"))
        yield Tile("Signals in 30 days", count(total["signals"]), known)


def _cards(report: Report) -> Iterator[Markup]:
    yield from _searched(report)
    yield from _judged_on_new_sessions(report)
    yield from _of_the_desk(report)
    yield from _done(report)


def _searched(report: Report) -> Iterator[Markup]:
    yield _table(
        "Spaces", ("space", "symbol", "tonight", "before", "of all"),
        [
            (each["space"], each["symbol"], count(each["variants"]), count(each["before"]),
             count(each["size"]))
            for each in report["spaces"]
        ],
        "Each space was declared, all of it, before its first result; a night takes the next part of one "
        "order, and no variant twice. All that was declared counts as tried from the first night on.",
        "no space is searched tonight",
    )  # fmt: skip
    yield _table(
        "The best of tonight",
        ("search", "Sharpe, training", "test", "trades", "p after all trials", page.prose("verdict")),
        [
            (each["name"].removeprefix("night "), ratio(each.get("train_sharpe")),
             ratio(each.get("test_sharpe")), count(each.get("trades")), ratio(each.get("p_value"), 3),
             page.prose(_verdict(each)))
            for each in report["results"]
        ],
        "Run again in Backtrader. The p-value is that of the maximum test: how often the best of all that "
        "was tried and declared would be as good without skill.",
        "no search has a result tonight",
    )  # fmt: skip
    if report["sessions"]:
        yield _of_agents(report)
    yield _table(
        "Registrations", ("candidate", "history is worth", page.prose("why, or why not")),
        [
            *((each["name"], ratio(each["e_history"], 3), page.prose("registered")) for each in
              report["registered"]),
            *(("", "", page.prose(each)) for each in report["refused"]),
        ],
        "A registration freezes a strategy and spends a share of the year's error budget, which nothing "
        "gives back. From then on only sessions count that did not exist.",
        "nothing was to be registered",
    )  # fmt: skip


def _of_agents(report: Report) -> Markup:
    rows = [
        (page.link(f"session {each['session']}", each["page"]), each["space"], each["symbol"],
         f"{count(each['trials'])} of {count(each['strategies'])}", ratio(each["fitness"], 3),
         ratio(each.get("p_value"), 3), page.prose(said_by_gate(each)))
        for each in report["sessions"]
    ]  # fmt: skip
    return _table(
        "Research agents",
        ("session", "space", "symbol", "strategies", "fitness", "p of replays", page.prose("gate")),
        rows,
        " ".join(
            ("Fitness is that of the best strategy on training bars. What agents find was chosen by looking, "
             "so that its history counts nothing in a registration.", *report["session_notes"])
        ),
        "",
    )  # fmt: skip


def _judged_on_new_sessions(report: Report) -> Iterator[Markup]:
    yield _table(
        "Forward evidence",
        ("candidate", "registered", "sessions", "evidence", "pilot at", "full size at",
         page.prose("market regimes of its history")),
        [
            (_named(each), each["registered"], count(each["sessions"]), ratio(each["evidence"]),
             ratio(each["pilot"], 1), ratio(each["full"], 1), page.prose(each["regimes"]))
            for each in report["candidates"]
        ],
        "History times forward evidence. Without an edge it reaches a threshold of 60 with a chance of one "
        "in sixty, however often it is looked at.",
        "no candidate waits for evidence",
    )  # fmt: skip
    yield _table(
        "Events", ("candidate", page.prose("what happened")),
        [(each["name"], page.prose(each["sentence"])) for each in report["events"]],
        "", report["sentence"],
    )  # fmt: skip
    yield _table(
        "A/B tests",
        ("test", "symbol", "sessions", "difference", "at least", "at most", page.prose("verdict")),
        [
            (each["name"], each["symbol"], count(each["sessions"]), ratio(each["mean"], 3),
             ratio(each["low"], 3), ratio(each["high"], 3),
             page.prose(f"{each['verdict']}: {each['sentence']}"))
            for each in report["tests"]
        ],
        "Mean difference of a session, challenger less champion, in deviations, with bounds that hold at all "
        "looks at once. A winner goes to the gates of a promotion.",
        "no A/B test is running",
    )  # fmt: skip


def _of_the_desk(report: Report) -> Iterator[Markup]:
    lanes = list(report["outcomes"])
    if len(lanes) > 1:
        lanes.append({"lane": "all", **report["signals"]})
    yield _table(
        "Signals of the last 30 days",
        ("lane", "signals", "taken", "vetoed", "waiting", "hit rate", "Brier", "P&L"),
        [
            (each["lane"], count(each["signals"]), count(each["taken"]), count(each["vetoed"]),
             count(each["waiting"]), percent(each["hit_rate"]), ratio(each["brier"], 3),
             page.coloured(usd(each["pnl"])))
            for each in lanes
        ],
        "Hit rate, Brier score and P&L are of the signals that were taken and have ended.",
        "no desk is watched, or it had no signal",
    )  # fmt: skip
    yield _table(
        "Retrainings",
        ("run", "symbol", "began", "is", "from", "to", page.prose("why, and what it did last")),
        [
            (each["run"][:8], each["symbol"], each["began"], each["is"].lower().replace("_", " "),
             each["from"] or "", each["to"] or "", page.prose(_progress(each)))
            for each in report["retrainings"]
        ],
        "A trigger begins a retraining. Production changes where a challenger is better, or not worse, and "
        "validation, certificate and an approval say so too; the night never forces it.",
        "no model is trained again",
    )  # fmt: skip
    if report["retraining_notes"]:
        yield _notes("Of retrainings", report["retraining_notes"], "")


def _done(report: Report) -> Iterator[Markup]:
    yield _notes(
        "Not delivered, or not known to be done", [*report["undelivered"], *report["unknown"]],
        "every message was taken, and every effect of every night has an outcome",
    )  # fmt: skip
    yield _table(
        "Steps", ("step", page.prose("what it did")),
        [(each["step"], page.prose(each["sentence"])) for each in report["steps"]],
        "A step is named by all that goes into it, and is made once.", "no step was made",
    )  # fmt: skip
    if report["quality"]:
        yield _table(
            "Bars", ("symbol", "finding", "count", page.prose("what it is")),
            [
                (each["symbol"], each["kind"], count(each["count"]), page.prose(each["sentence"]))
                for each in report["quality"]
            ],
            "", "",
        )  # fmt: skip


def _many(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{count(number)} {what}s"


def _progress(run: Mapping[str, Any]) -> str:
    said = f"{run['why']}. {run['sentence']}" if run["why"] != run["sentence"] else str(run["why"])
    return f"{said}; it waits for lockstep retrain approve {run['run']}" if run["waits"] else said


def _verdict(result: Mapping[str, Any]) -> str:
    return f"{result['word']}: {result['verdict']}" if result.get("word") else result["verdict"]


def _named(candidate: Mapping[str, Any]) -> Markup:
    label = f"evidence of {candidate['name']}"
    return page.joined(candidate["name"], page.sparkline(label, candidate["path"], level=1.0))


def _table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, empty: str
) -> Markup:
    found = page.table(head, rows) if rows else page.empty_block(empty)
    return page.card(title, found, caption=caption, classes="wide")


def _notes(title: str, sentences: Sequence[str], empty: str) -> Markup:
    found = page.notes(sentences) if sentences else page.empty_block(empty)
    return page.card(title, found, classes="wide")
