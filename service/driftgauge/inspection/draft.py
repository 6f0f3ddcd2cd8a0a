"""The text of a configuration that reads a topic as proposed."""

from collections.abc import Iterable

from driftgauge.files import name_of_stream
from driftgauge.inspection.proposal import Proposal, flow

__all__ = ["write_config"]


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
    lines += [f"kafka: {flow(kafka)}  # each deployment needs a group of its own"]
    lines += [f"schema_registry: {flow({'url': registry})}"] if registry else []
    lines.append(
        "# Results go to driftgauge.windows. Deployments that share it need different names of streams;"
    )
    lines.append("# else name another topic: windows: NAME.")
    lines += [f"topics: {flow({'events': [topic]})}", "streams:"]
    lines.append(
        "  # Fit each: driftgauge baseline fit --config … --topic … --from TIME --stream NAME --out FILE"
    )
    lines += [
        f"  - {flow({'name': name, 'baseline': f'{name_of_stream(name)}.safetensors', 'windows': ['1h']})}"
        for name in proposal.streams
    ]
    if proposal.mapping is None:
        lines.append("# The records are events of the service's own contract, and need no mapping.")
    else:
        lines += ["inputs:", f"  {flow(topic)}:"]
        lines += [f"    {key}: {flow(value)}" for key, value in proposal.mapping.items()]
    return "\n".join([*lines, ""])
