"""The bill of materials as CycloneDX JSON, which scanners and auditors read.

Which parts there are is decided by `components`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6

from infra.supply_chain.components import Part

_KINDS = {"docker": ComponentType.CONTAINER, "generic": ComponentType.PLATFORM}


def cyclonedx(parts: Iterable[Part]) -> str:
    """Return the document; the same parts have the same serial number."""
    every = list(parts)
    platform = Component(name="production-data-platform", bom_ref="platform", type=ComponentType.APPLICATION)
    bom = Bom(components=[_component(part) for part in every])
    bom.metadata.component = platform
    bom.register_dependency(platform, bom.components)
    names = " ".join(one.purl.to_string() for part in every for one in part.and_contents())
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, names)
    return JsonV1Dot6(bom).output_as_string(indent=1)


def _component(part: Part, path: str = "") -> Component:
    # A reference is unique in the document; the same artifact may be inside several.
    reference = f"{path}{part.purl.to_string()}"
    return Component(
        name=part.purl.name,
        group=part.purl.namespace,
        version=part.purl.version,
        type=_KINDS.get(part.purl.type, ComponentType.LIBRARY),
        purl=part.purl,
        bom_ref=reference,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=part.sha256)] if part.sha256 else [],
        properties=[Property(name="source", value=part.source)],
        components=[_component(inside, f"{reference}#") for inside in part.contents],
    )
