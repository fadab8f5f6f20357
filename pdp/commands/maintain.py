"""`pdp maintain`: compaction and the end of old versions, now and not at night.

Only asking and showing belong here; what is done is `maintenance`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pdp import arguments, output
from pdp.arguments import AnyDomainName
from pdp.environment import Platform
from pdp.output import TableColumn
from platform_core.errors import PermanentError
from platform_core.partitions.partition_state import State

if TYPE_CHECKING:
    from maintenance.delta_table import TableMaintenance
    from platform_core.domain.catalog import Domain


def maintain(
    platform: Platform,
    domain: AnyDomainName = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="List every file, as once a week; not only what changed")
    ] = False,
) -> None:
    """Merge small files of a domain's tables and end the files of replaced versions; without a domain, of all tables.

    No row changes. The asset `maintenance` of each domain does the same once a day; a table that nobody has written
    since is passed over.
    """
    domains = arguments.domains(platform.catalog, domain)
    for chosen in domains:
        _refuse_while_at_work(platform, chosen)
    turns = []
    for turn in _turns(platform, domains, everything=domain is None, whole=whole):
        output.note(f"{turn.table}: done")
        turns.append(turn)
    output.answer(
        {"tables": [asdict(turn) for turn in turns]},
        output.table(
            [asdict(turn) for turn in turns],
            "table",
            TableColumn("files before", "files_before"),
            "files",
            "bytes",
            TableColumn("old files removed", "removed"),
            TableColumn("versions held", "held", lambda held: ", ".join(map(str, held))),
        ),
        nothing="No table has been written yet.",
    )


def _turns(platform: Platform, domains: list[Domain], *, everything: bool, whole: bool) -> Iterator[TableMaintenance]:
    from maintenance.run import maintain_domain, maintain_platform

    for domain in domains:
        yield from maintain_domain(platform.lake, domain, platform.partitions, platform.settings, whole=whole)
    if everything:
        yield from maintain_platform(platform.lake, platform.settings, whole=whole)


def _refuse_while_at_work(platform: Platform, domain: Domain) -> None:
    snapshot = platform.partitions.snapshot()
    in_flight = [day for (_, day), state in snapshot.states(domain.name).items() if state is State.IN_FLIGHT]
    at_work = snapshot.rows(domain.name, in_flight)
    if at_work:
        raise PermanentError(
            f"Domain `{domain.name}`: run {at_work[0].run_id} writes its tables. Try again when it has ended, or start"
            f" the job `maintenance_{domain.name}` in the UI, which waits for it."
        )
