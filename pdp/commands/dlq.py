"""`pdp dlq`: count the refused records, look at them, and send them back after the cause was mended.

Only asking and showing belong here; what a dead letter is says `pdp.actions.dead_letters.reader`, how it is sent back
`pdp.actions.dead_letters.redrive`. What each error class means is in docs/operations.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from pdp import arguments, output, record_bytes
from pdp.arguments import AnyDomainName, ArgumentError, DomainName, SinceText
from pdp.environment import Platform
from pdp.output import TableColumn
from pdp.registration import Commands
from platform_core.clock import SystemClock
from platform_core.counted import counted
from platform_kafka.formats.dead_letter_headers import DEFAULT_MAX_ATTEMPTS, own_headers
from platform_kafka.records import headers_of
from platform_kafka.topics import dlq_name, parked_name

if TYPE_CHECKING:
    from pdp.actions.dead_letters.reader import DeadLetter
    from pdp.actions.dead_letters.redrive import RedriveResult
    from platform_core.domain.catalog import Domain

app = Commands(
    help="Look at the records that the sink or a producer refused, and send them back.", no_args_is_help=True
)

Error = Annotated[str | None, typer.Option("--error", metavar="CLASS", help="Only this error class")]


@app.command("list")
def list_dead_letters(
    platform: Platform,
    domain: AnyDomainName = None,
    since: SinceText = None,
    error: Error = None,
) -> None:
    """Count the dead letters by domain and error class, with how many were sent back."""
    from pdp.actions.dead_letters.summary import summarise
    from platform_kafka.reader import OperatorKafka

    domains = arguments.domains(platform.catalog, domain)
    start = arguments.moment(since) if since else None
    with OperatorKafka(platform.settings) as kafka:
        counts = [(each, summarise(kafka, each, since=start, error=error)) for each in domains]
    documents = [
        {
            "domain": each.name,
            "topic": dlq_name(each),
            "dead_letters": sum(some.dead_letters for some in classes),
            "open": sum(some.open for some in classes),
            "classes": [output.record(some, "open") for some in classes],
        }
        for each, classes in counts
    ]
    output.answer(
        {"since": start, "domains": documents},
        output.table(
            [{"domain": each.name, **output.record(some, "open")} for each, classes in counts for some in classes],
            "domain",
            TableColumn("error class", "error_class"),
            TableColumn("dead letters", "dead_letters"),
            TableColumn(
                "redriven", lambda some: f"{some['redriven']:,} ({some['redriven'] / some['dead_letters']:.0%})"
            ),
            "parked",
            "open",
            TableColumn("first (UTC)", "first"),
            TableColumn("last (UTC)", "last"),
        ),
        Text(counted(sum(some.dead_letters for _, classes in counts for some in classes), "dead letter")),
        nothing="No such dead letter.",
    )


@app.command()
def peek(
    platform: Platform,
    domain: DomainName,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Dead letters to show")] = 5,
    error: Error = None,
    since: SinceText = None,
    offset: Annotated[int | None, typer.Option("--offset", min=0, help="Start at this offset of the DLQ")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write the bytes of one value into a file or pipe")] = False,
) -> None:
    """Show dead letters: where from, why, how often, key and value; the newest, or from an offset on."""
    from pdp.actions.dead_letters.reader import select
    from platform_kafka.reader import OperatorKafka

    chosen = arguments.domain(platform.catalog, domain)
    start = arguments.moment(since) if since else None
    with OperatorKafka(platform.settings) as kafka:
        shown = select(kafka, chosen, 1 if raw else limit, error, start, offset)
    nothing = f"No such dead letter in `{dlq_name(chosen)}`."
    if raw:
        if not shown:
            output.note(nothing)
            raise typer.Exit(1)
        _write_value(shown[0])
        return
    output.answer(
        {"domain": chosen.name, "topic": dlq_name(chosen), "dead_letters": [_document(each) for each in shown]},
        *(line for each in shown for line in _lines(each)),
        notes=[] if shown else [nothing],
    )


@app.command()
def redrive(
    platform: Platform,
    domain: DomainName,
    since: SinceText = None,
    error: Error = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many dead letters")] = None,
    max_attempts: Annotated[
        int, typer.Option("--max-attempts", min=1, help="Park a dead letter that was refused so often")
    ] = DEFAULT_MAX_ATTEMPTS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count, send nothing")] = False,
) -> None:
    """Send dead letters back to their raw topic, each once; those refused too often are parked."""
    from pdp.actions.dead_letters.redrive import Selection
    from pdp.actions.dead_letters.redrive import redrive as send_back

    chosen = arguments.domain(platform.catalog, domain)
    selection = Selection(arguments.moment(since) if since else None, error, limit)
    with output.progress(silent=output.AS_JSON.get()) as progress:
        result = send_back(
            platform.settings,
            chosen,
            selection,
            operator=arguments.operator(),
            now=SystemClock().now,
            max_attempts=max_attempts,
            dry_run=dry_run,
            progress=progress,
        )
    shown = output.table(
        [result],
        "sent",
        "parked",
        TableColumn("skipped (already done)", "skipped"),
        TableColumn("not sendable", "unreadable"),
    )
    output.answer(output.record(result), shown, notes=_notes(chosen, result, selection.error))
    if result.unreadable:
        raise typer.Exit(1)


def _write_value(dead_letter: DeadLetter) -> None:
    value, omitted = dead_letter.message.value(), dead_letter.refusal.omitted_bytes
    if value is None:
        why = f"its {omitted:,} bytes stayed at {dead_letter.origin}" if omitted else "the record had none"
        output.note(f"{dead_letter.address} has no value: {why}.")
        raise typer.Exit(1)
    stream = typer.get_binary_stream("stdout")
    if stream.isatty():
        raise ArgumentError("`--raw` writes bytes as they are, which may steer a terminal: add `> FILE` or a pipe.")
    stream.write(value)
    stream.flush()


def _document(dead_letter: DeadLetter) -> dict[str, Any]:
    refusal, origin = dead_letter.refusal, ("topic", "partition", "offset", "timestamp")
    return {
        "offset": dead_letter.message.offset(),
        "partition": dead_letter.message.partition(),
        **{name: getattr(dead_letter, name) for name in ("at", "error_class", "attempt")},
        **{name: getattr(refusal, name) for name in ("error", "schema_id", "omitted_bytes")},
        "origin": {name: getattr(refusal, name) for name in origin},
        **record_bytes.record_document(dead_letter.message),
    }


def _lines(dead_letter: DeadLetter) -> Iterator[Text]:
    message, refusal = dead_letter.message, dead_letter.refusal
    schema = "" if refusal.schema_id is None else f", schema {refusal.schema_id}"
    value = record_bytes.value_text(message.value())
    if refusal.omitted_bytes is not None:
        value = f"omitted: {refusal.omitted_bytes:,} bytes, in {dead_letter.origin}"
    yield Text(f"{dead_letter.address}  {output.moment(dead_letter.at)}  from {dead_letter.origin}", style="bold")
    yield Text(f"  {dead_letter.error_class}, attempt {dead_letter.attempt}{schema}: {refusal.error}", style="red")
    yield from record_bytes.record_lines(message.key(), own_headers(headers_of(message)), value)


def _notes(domain: Domain, result: RedriveResult, error: str | None) -> Iterator[str]:
    for failure in result.failures:
        yield f"{failure.letter}, from {failure.origin}: {failure.reason}"
    if result.unreadable > len(result.failures):
        yield f"… and {result.unreadable - len(result.failures):,} more."
    if error is not None and error not in result.error_classes:
        classes = arguments.quoted(sorted(result.error_classes)) or "none at all"
        yield f"No dead letter has the error class `{error}`. There are {classes}."
    if result.dry_run:
        yield "Dry run: nothing was sent."
    elif result.sent:
        yield (
            f"The sink reads them from `{result.topic}` again; what it refuses again is a new dead letter:"
            f" pdp dlq list {domain.name}"
        )
    if result.parked:
        yield (
            f"Refused too often, in `{parked_name(domain)}`: pdp peek {parked_name(domain)}. To send them after all:"
            " --max-attempts with a larger number."
        )
