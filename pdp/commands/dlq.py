"""`pdp dlq`: count the refused records, look at them, and send them back after the cause was mended.

Only asking and showing belong here; what a letter is says `pdp.actions.dead_letters.reader`, how it is sent back
`pdp.actions.dead_letters.redrive`. What each error class means is in docs/operations.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from pdp import arguments, output, record_bytes
from pdp.arguments import AnyDomainName, DomainName, SinceText
from pdp.environment import Platform
from pdp.output import Column, Json
from platform_core.clock import SystemClock
from platform_core.domain.catalog import Domain
from platform_kafka.dead_letter_headers import own_headers
from platform_kafka.topics import dlq_name, parked_name

if TYPE_CHECKING:
    from pdp.actions.dead_letters.reader import Letter
    from pdp.actions.dead_letters.redrive import RedriveResult
    from pdp.actions.dead_letters.summary import ClassSummary
    from platform_kafka.reader import OperatorKafka

app = typer.Typer(
    help="Look at the records that the sink or a producer refused, and send them back.", no_args_is_help=True
)

Error = Annotated[str | None, typer.Option("--error", metavar="CLASS", help="Only letters of this error class")]

LETTERS_WITHOUT_PROGRESS = 1_000
"""So many are sent within a second; more of them show that something moves."""

LETTERS_A_LINE = 10_000


@app.command("list")
def list_letters(
    ctx: typer.Context,
    domain: AnyDomainName = None,
    since: SinceText = None,
    error: Error = None,
    as_json: Json = False,
) -> None:
    """Count the dead letters by domain and error class, with how many were sent back."""
    from pdp.actions.dead_letters.summary import summarise
    from platform_kafka.reader import OperatorKafka

    platform: Platform = ctx.obj
    domains = arguments.domains(platform.catalog, domain)
    start = arguments.moment(since) if since else None
    with OperatorKafka(platform.settings) as kafka:
        documents = [_summary(each, summarise(kafka, each, since=start, error=error)) for each in domains]
    total = sum(document["letters"] for document in documents)
    output.answer(
        as_json,
        {"since": start, "domains": documents},
        output.table(
            [{"domain": document["domain"], **counts} for document in documents for counts in document["classes"]],
            "domain",
            Column("error class", lambda counts: Text(record_bytes.printable(counts["error_class"]))),
            "letters",
            Column("redriven", lambda counts: f"{counts['redriven']:,} ({counts['redriven'] / counts['letters']:.0%})"),
            "parked",
            "open",
            Column("first (UTC)", "first"),
            Column("last (UTC)", "last"),
        ),
        Text(f"{total:,} letters"),
        nothing="No such dead letter.",
    )


def _summary(domain: Domain, classes: Sequence[ClassSummary]) -> dict[str, Any]:
    return {
        "domain": domain.name,
        "topic": dlq_name(domain),
        "letters": sum(each.letters for each in classes),
        "open": sum(each.open for each in classes),
        "classes": [output.record(each, "open") for each in classes],
    }


@app.command()
def peek(
    ctx: typer.Context,
    domain: DomainName,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Letters to show")] = 5,
    error: Error = None,
    since: SinceText = None,
    offset: Annotated[int | None, typer.Option("--offset", min=0, help="Start at this offset of the DLQ")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write the value's bytes of one letter, and nothing else")] = False,
    as_json: Json = False,
) -> None:
    """Show dead letters: where from, why, how often, key and value; the newest, or from an offset on."""
    from platform_kafka.reader import OperatorKafka

    platform: Platform = ctx.obj
    found = arguments.domain(platform.catalog, domain)
    start = arguments.moment(since) if since else None
    with OperatorKafka(platform.settings) as kafka:
        shown = _selected(kafka, found, 1 if raw else limit, error, start, offset)
    if raw:
        _write_value(found, shown)
        return
    output.answer(
        as_json,
        {"domain": found.name, "topic": dlq_name(found), "letters": [_document(each) for each in shown]},
        *(line for each in shown for line in _lines(each)),
        notes=[] if shown else [f"No such dead letter in `{dlq_name(found)}`."],
    )


@app.command()
def redrive(
    ctx: typer.Context,
    domain: DomainName,
    since: SinceText = None,
    error: Error = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many letters")] = None,
    max_attempts: Annotated[
        int, typer.Option("--max-attempts", min=1, help="Park a letter that was refused so often")
    ] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count, send nothing")] = False,
    as_json: Json = False,
) -> None:
    """Send dead letters back to their raw topic, each once; those refused too often are parked."""
    from pdp.actions.dead_letters.redrive import Selection
    from pdp.actions.dead_letters.redrive import redrive as send_back

    platform: Platform = ctx.obj
    found = arguments.domain(platform.catalog, domain)
    selection = Selection(arguments.moment(since) if since else None, error, limit)
    with _progress(silent=as_json) as moved:
        result = send_back(
            platform.settings,
            found,
            selection,
            operator=arguments.operator(),
            now=SystemClock().now,
            max_attempts=max_attempts,
            dry_run=dry_run,
            progress=moved,
        )
    shown = output.table(
        [result], "sent", "parked", Column("skipped (already done)", "skipped"), Column("not sendable", "unreadable")
    )
    output.answer(as_json, asdict(result), shown, notes=_notes(found, result, selection.error))
    if result.unreadable:
        raise typer.Exit(1)


@contextmanager
def _progress(*, silent: bool) -> Iterator[Callable[[int], None]]:
    """Show how many letters were handled, on stderr: a line that moves, or in a log one line for each 10,000."""
    console = output.notes()
    if silent or not console.is_terminal:
        yield lambda count: None if silent or count % LETTERS_A_LINE else output.note(f"{count:,} letters")
        return
    columns = (TextColumn("{task.completed:,.0f} letters"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("letters", total=None, visible=False)

        def moved(count: int) -> None:
            if count % 100 == 0:  # redrawing for each letter would take longer than sending it
                bar.update(task, completed=count, visible=count > LETTERS_WITHOUT_PROGRESS)

        yield moved


def _selected(
    kafka: OperatorKafka, domain: Domain, limit: int, error: str | None, since: Any, offset: int | None
) -> list[Letter]:
    from pdp.actions.dead_letters.reader import letters

    first = offset
    if first is None and error is None and since is None:
        # The newest ones, without reading all that came before.
        partitions = kafka.partitions(dlq_name(domain))
        first = max(max(bounds.end for bounds in kafka.bounds(partitions).values()) - limit, 0)
    kept: deque[Letter] = deque(maxlen=limit)
    for letter in letters(kafka, domain, since=since, first_offset=first):
        if error in (None, letter.error_class):
            kept.append(letter)
            if offset is not None and len(kept) == limit:
                break
    return list(kept)


def _write_value(domain: Domain, shown: list[Letter]) -> None:
    if not shown:
        output.note(f"No such dead letter in `{dlq_name(domain)}`.")
        raise typer.Exit(1)
    (letter,) = shown
    if letter.value is None:
        omitted = letter.omitted_bytes
        why = f"its {omitted:,} bytes stayed at {letter.origin}" if omitted else "the record had none"
        output.note(f"{letter.place} has no value: {why}.")
        raise typer.Exit(1)
    stream = typer.get_binary_stream("stdout")
    stream.write(letter.value)
    stream.flush()


def _document(letter: Letter) -> dict[str, Any]:
    plain = ("offset", "partition", "at", "error_class", "error", "attempt", "schema_id", "omitted_bytes")
    origin = ("topic", "partition", "offset", "timestamp")
    return {
        **{name: getattr(letter, name) for name in plain},
        "origin": {name: getattr(letter, f"origin_{name}") for name in origin},
        "key": record_bytes.text(letter.key),
        "headers": record_bytes.headers_document(letter.headers),
        "value": record_bytes.value_document(letter.value),
    }


def _lines(letter: Letter) -> list[Text]:
    clean = record_bytes.printable
    schema = "" if letter.schema_id is None else f", schema {letter.schema_id}"
    own = own_headers(letter.headers)
    if letter.omitted_bytes is not None:
        value = f"omitted: {letter.omitted_bytes:,} bytes, in {letter.origin}"
    else:
        value = record_bytes.value_text(letter.value)
    lines = [
        Text(clean(f"{letter.place}  {output.moment(letter.at)}  from {letter.origin}"), style="bold"),
        Text(clean(f"  {letter.error_class}, attempt {letter.attempt}{schema}: {letter.error}"), style="red"),
        Text(f"  key {clean(record_bytes.text(letter.key) or 'null')}"),
    ]
    if own:
        lines.append(Text(f"  headers {record_bytes.headers_text(own)}"))
    indented = value.replace("\n", "\n  ")
    return [*lines, Text(f"  {indented}"), Text("")]


def _notes(domain: Domain, result: RedriveResult, error: str | None) -> Iterator[str]:
    for failure in result.failures:
        yield record_bytes.printable(f"{failure.letter}, from {failure.origin}: {failure.reason}")
    if result.unreadable > len(result.failures):
        yield f"… and {result.unreadable - len(result.failures):,} more."
    if error is not None and error not in result.error_classes:
        classes = arguments.quoted(sorted(result.error_classes)) or "none at all"
        yield f"No letter has the error class `{error}`. There are {classes}."
    if result.dry_run:
        yield "Dry run: nothing was sent."
    elif result.sent:
        yield (
            f"The sink reads them from `{result.topic}` again; what it refuses again is a new letter:"
            f" pdp dlq list {domain.name}"
        )
    if result.parked:
        yield (
            f"Refused too often, in `{parked_name(domain)}`: pdp peek {parked_name(domain)}. To send them after all:"
            " --max-attempts with a larger number."
        )
