"""`pdp erase`: remove one person's data from every layer, and show by reading all of them that it is gone.

What is removed, and in which order, belongs to `erasure`, which is imported when the command runs; here it is asked for
and shown.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from pdp import arguments, output
from pdp.environment import Platform
from pdp.output import TableColumn
from platform_core.clock import SystemClock

if TYPE_CHECKING:
    from rich.table import Table

    from erasure.layers import Survey, SurveyLine
    from erasure.mentions import Mention
    from erasure.run import Outcome


def erase(
    platform: Platform,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Of the person: a name under `subjects`, such as `user`")],
    identifier: Annotated[str, typer.Argument(metavar="ID", help="The person's identifier")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what each layer has")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; nothing brings the data back")] = False,
    word: Annotated[
        list[str] | None,
        typer.Option("--word", metavar="TEXT", help="Also list other people's rows with this name, e-mail or phone"),
    ] = None,
) -> None:
    """Remove one person's data from every layer, and prove it by reading all of them; run it until it says done."""
    from erasure.mentions import mentions
    from erasure.run import Erasure
    from erasure.subject import holders
    from erasure.topics import Topics

    held = holders(platform.catalog, kind, identifier)
    words = [each for each in map(str.strip, word or ()) if each]
    with closing(Topics(platform.settings)) as topics:
        erasure = Erasure(
            platform.settings,
            platform.lake,
            platform.partitions,
            topics,
            kind=kind,
            held=held,
            operator=arguments.operator(),
            clock=SystemClock(),
            progress=output.note,
        )
        if dry_run:
            survey = erasure.survey()
            _show_survey(survey, mentions(platform.lake, platform.catalog, held, words))
            return
        if not yes:
            names = ", ".join(holder.domain.name for holder in held)
            typer.confirm(f"Erase this {kind} from {names}? Nothing brings the data back.", abort=True, err=True)
        outcome = erasure.run()
    _show_outcome(outcome, mentions(platform.lake, platform.catalog, held, words))
    if not outcome.complete:
        raise typer.Exit(1)


def _show_survey(survey: Survey, named: list[Mention]) -> None:
    shown = output.table(
        survey.lines,
        "layer",
        "domain",
        "place",
        TableColumn("of the person", "of_subject"),
        TableColumn("of others", "others"),
    )
    document = {"layers": survey.lines, "of_subject": survey.of_subject, "mentions": named}
    output.answer(document, shown, *_mentions(named), notes=["Dry run: nothing was changed."])


def _mentions(named: list[Mention]) -> list[Table]:
    return (
        [output.table(named, "domain", TableColumn("date", "day"), "file", "column", "rows", "first")] if named else []
    )


def _show_outcome(outcome: Outcome, named: list[Mention]) -> None:
    lines = [_difference(*pair) for pair in _paired(outcome)]
    waiting = [{"domain": domain, "date": day, "state": state} for domain, day, state in outcome.waiting]
    output.answer(
        {
            "complete": outcome.complete,
            "rewritten_files": outcome.rewritten,
            "waiting": waiting,
            "layers": lines,
            "of_subject": outcome.after.of_subject,
            "mentions": named,
        },
        output.table(
            lines,
            "layer",
            "domain",
            "place",
            "before",
            "now",
            TableColumn("others before", "others_before"),
            TableColumn("others now", "others_now"),
        ),
        *([output.table(waiting, "domain", "date", "state")] if waiting else []),
        *_mentions(named),
        Text(_conclusion(outcome), style="green" if outcome.complete else "yellow"),
    )


def _conclusion(outcome: Outcome) -> str:
    if outcome.complete:
        return "✓ every layer was read to its end and has nothing of the person"
    if outcome.waiting:
        dates = len({(domain, day) for domain, day, _ in outcome.waiting})
        return f"{dates} dates must be processed without the person: run the command again when they are DONE"
    return "Something came meanwhile, or a table is in use: run the command again"


def _paired(outcome: Outcome) -> list[tuple[SurveyLine | None, SurveyLine | None]]:
    before = {(line.layer, line.domain, line.place): line for line in outcome.before.lines}
    after = {(line.layer, line.domain, line.place): line for line in outcome.after.lines}
    return [(before.get(place), after.get(place)) for place in dict.fromkeys([*before, *after])]


def _difference(before: SurveyLine | None, after: SurveyLine | None) -> dict[str, Any]:
    known = before or after
    assert known is not None
    return {
        "layer": known.layer,
        "domain": known.domain,
        "place": known.place,
        "before": before.of_subject if before else 0,
        "now": after.of_subject if after else 0,
        "others_before": before.others if before else 0,
        "others_now": after.others if after else 0,
    }
