"""`pdp dlq`: count the refused records, look at them, and send them back after the cause was mended.

Only asking and showing belong here; what a letter is says `pdp.actions.dead_letters.reader`, how it is sent back
`pdp.actions.dead_letters.redrive`. What each error class means is in docs/operations.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from pdp import arguments, output, record_bytes
from pdp.arguments import AnyDomainName, DomainName, SinceText
from pdp.environment import Platform
from pdp.output import Json
from platform_core.clock import SystemClock
from platform_core.domain.catalog import Domain
from platform_kafka.topics import dlq_name, parked_name

if TYPE_CHECKING:
    from pdp.actions.dead_letters.reader import Letter
    from pdp.actions.dead_letters.redrive import RedriveResult
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
    domains = [arguments.domain(platform.catalog, domain)] if domain else list(platform.catalog)
    start = arguments.moment(since) if since else None
    with OperatorKafka(platform.settings) as kafka:
        found = {each.name: summarise(kafka, each, since=start, error=error) for each in domains}
    if as_json:
        documents = [
            {
                "domain": each.name,
                "topic": dlq_name(each),
                "letters": sum(c.letters for c in found[each.name]),
                "open": sum(c.open for c in found[each.name]),
                "classes": [{**asdict(c), "open": c.open} for c in found[each.name]],
            }
            for each in domains
        ]
        output.document({"since": start, "domains": documents})
        return
    total = sum(c.letters for counts in found.values() for c in counts)
    if not total:
        output.note("No such dead letter.")
        return
    table = output.table(
        "domain",
        "error class",
        "letters",
        "redriven",
        "parked",
        "open",
        "first (UTC)",
        "last (UTC)",
        numbers=("letters", "redriven", "parked", "open"),
    )
    for name, counts in found.items():
        for c in counts:
            share = f"{c.redriven:,} ({c.redriven / c.letters:.0%})"
            table.add_row(
                name,
                Text(record_bytes.printable(c.error_class)),
                output.number(c.letters),
                share,
                output.number(c.parked),
                output.number(c.open),
                output.moment(c.first),
                output.moment(c.last),
            )
    output.show(table, Text(f"{total:,} letters"))


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
    elif as_json:
        output.document({"domain": found.name, "topic": dlq_name(found), "letters": [_document(x) for x in shown]})
    elif not shown:
        output.note(f"No such dead letter in `{dlq_name(found)}`.")
    else:
        for letter in shown:
            output.show(*_lines(letter))


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
    if as_json:
        output.document(asdict(result))
    else:
        _tell(found, result, selection.error)
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
    return {
        "offset": letter.offset,
        "partition": letter.partition,
        "at": letter.at,
        "origin": {
            "topic": letter.origin_topic,
            "partition": letter.origin_partition,
            "offset": letter.origin_offset,
            "timestamp": letter.origin_timestamp,
        },
        "error_class": letter.error_class,
        "error": letter.error,
        "attempt": letter.attempt,
        "schema_id": letter.schema_id,
        "omitted_bytes": letter.omitted_bytes,
        "key": record_bytes.text(letter.key),
        "headers": record_bytes.headers_document(letter.headers),
        "value": record_bytes.value_document(letter.value),
    }


def _lines(letter: Letter) -> list[Text]:
    clean = record_bytes.printable
    schema = "" if letter.schema_id is None else f", schema {letter.schema_id}"
    own = [(name, value) for name, value in letter.headers if not name.startswith("dlq.")]
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


def _tell(domain: Domain, result: RedriveResult, error: str | None) -> None:
    table = output.table(
        "sent",
        "parked",
        "skipped (already done)",
        "not sendable",
        numbers=("sent", "parked", "skipped (already done)", "not sendable"),
    )
    table.add_row(*(output.number(n) for n in (result.sent, result.parked, result.skipped, result.unreadable)))
    output.show(table)
    for failure in result.failures:
        output.note(record_bytes.printable(f"{failure.letter}, from {failure.origin}: {failure.reason}"))
    if result.unreadable > len(result.failures):
        output.note(f"… and {result.unreadable - len(result.failures):,} more.")
    if error is not None and error not in result.error_classes:
        classes = arguments.quoted(sorted(result.error_classes)) or "none at all"
        output.note(f"No letter has the error class `{error}`. There are {classes}.")
    if result.dry_run:
        output.note("Dry run: nothing was sent.")
    elif result.sent:
        output.note(
            f"The sink reads them from `{result.topic}` again; what it refuses again is a new letter:"
            f" pdp dlq list {domain.name}"
        )
    if result.parked:
        output.note(
            f"Refused too often, in `{parked_name(domain)}`: pdp peek {parked_name(domain)}. To send them after all:"
            " --max-attempts with a larger number."
        )
