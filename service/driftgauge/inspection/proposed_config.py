"""A proposal as the text of a configuration, with comments."""

from collections.abc import Iterable

import yaml

from driftgauge.files import name_of_stream
from driftgauge.inspection.proposal import Proposal

__all__ = ["write_config"]

_NO_BREAK = 1_000_000


def write_config(
    topic: str, proposal: Proposal, notes: Iterable[str], servers: str, registry: str | None
) -> str:
    """Return the YAML of a configuration that reads a topic.

    Args:
        topic: The topic.
        proposal: How it is read.
        notes: Lines for the head.
        servers: The addresses of brokers.
        registry: The URL of the schema registry, if there is one.
    """
    # A long topic would give internal topics whose names are too long.
    kafka = {"bootstrap.servers": servers, "group.id": f"driftgauge-{topic[:100]}"}
    lines = ["# Proposed by `driftgauge init`. Read what it was not sure of, and adapt it:"]
    # A character that ends a line would end the comment.
    lines += ["".join(each if each.isprintable() else "?" for each in f"# - {note}") for note in notes]
    lines += [f"kafka: {_flow(kafka)}  # each deployment needs a group of its own"]
    lines += [f"schema_registry: {_flow({'url': registry})}"] if registry else []
    lines.append(
        "# Results go to driftgauge.windows. Deployments that share it need different names of streams;"
    )
    lines.append("# else name another topic: windows: NAME.")
    lines += [f"topics: {_flow({'events': [topic]})}", "streams:"]
    lines.append(
        "  # Fit each: driftgauge baseline fit --config … --topic … --from TIME --stream NAME --out FILE"
    )
    lines += [
        f"  - {_flow({'name': name, 'baseline': f'{name_of_stream(name)}.safetensors', 'windows': ['1h']})}"
        for name in proposal.streams
    ]
    if proposal.mapping is None:
        lines.append("# The records are events of the service's own contract, and need no mapping.")
    else:
        lines += ["inputs:", f"  {_flow(topic)}:"]
        lines += [f"    {key}: {_flow(value)}" for key, value in proposal.mapping.items()]
    return "\n".join([*lines, ""])


def _flow(value: object) -> str:
    """Return a value as YAML in one line."""
    # A scalar alone would end with a document's end.
    return yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=_NO_BREAK).strip()[1:-1]
