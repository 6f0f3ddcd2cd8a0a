"""The generated reference of service/docs/reference/: configuration, commands, API, metrics, and more.

Everything comes from where the service itself has it: the settings' models and their docstrings, click, the
API's description, the metrics' declarations, the alerting rules and the registry of statistics.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from textwrap import fill
from typing import Any

import click
from deploy.generate import alerts
from deploy.generate.schemas import settings_schema

from driftgauge.cli import cli
from driftgauge.core.statistics import registry
from driftgauge.page.api_records import openapi
from driftgauge.statistic_words import WORDS
from driftgauge.telemetry.metric import Metric
from driftgauge.telemetry.metrics import METRICS

__all__ = ["documents"]

_WIDTH = 120
# The width of a command's help, as on a common terminal.
_HELP_WIDTH = 100
_RUNBOOKS = "../../../deploy/runbooks"
# schemas/ describes it.
_RESULT = "WindowRecord"

_CONFIGURATION = """\
A configuration is one YAML file. A first line `# yaml-language-server: $schema=PATH`, with the path of
[`settings.schema.json`](../../../schemas/settings.schema.json), lets an editor complete and check its keys.
`driftgauge config check` reports every problem of the keys at once. Once they are right, it reports every
problem of the files that they name, and of the properties for other libraries.

- A **duration** is a number with a unit: `500ms`, `30s`, `10m`, `1h`, `1d`, `1h30m`. A **time** has an
  offset: `2025-11-03T00:00:00Z`.
- The **environment** sets single keys: `DRIFTGAUGE_` and the key in capitals, with `__` between the parts
  of the key. `DRIFTGAUGE_HTTP__PORT=9465` sets `http.port`. Below `kafka` and `schema_registry` an
  underscore stands for a dot: `DRIFTGAUGE_KAFKA__SASL_PASSWORD` sets `sasl.password`. A name with the prefix
  that sets no key is an error. Only the variables that Kubernetes makes of a Service named driftgauge, such
  as `DRIFTGAUGE_SERVICE_HOST`, are ignored.
- In a variable text has no quotes. Lists, mappings and whole sections are JSON:
  `DRIFTGAUGE_TOPICS__EVENTS='["a", "b"]'`. `streams` and `inputs` are set as a whole.
- `DRIFTGAUGE_SECRETS_DIR` names a directory with one **file for each secret**, named like the variable,
  with or without `DRIFTGAUGE_`: `kafka__sasl_password`. White space around the secret is removed. A link
  that leads out of the directory is not followed.
- Variables precede files of secrets, and these precede the YAML file. Secrets are never printed.
- `serve` and `page` read the secrets of `kafka`, and the certificates that it names, every 10 s. After a
  change they log in with the new ones, without a restart.
- driftgauge sets the Kafka properties that exactly-once counting depends on, and refuses them in a
  configuration. Properties by which librdkafka would run code, such as `plugin.library.paths`, can be set
  by the environment only."""

_COMMANDS = """\
- A result goes to standard output. Messages, warnings and progress go to standard error.
- With `--json` a command prints one JSON object. `replay` prints one for each window, and `baseline fit` of
  several streams a list.
- A terminal shows a report at its width, and progress as a bar. A pipe gets whole lines, and a line of
  progress every five seconds.
- A record that the service would refuse is left out. The first five are named by file and line, row or
  `topic[partition]@offset`, then all are counted by reason. The exit status stays 0.
- `eval "$(_DRIFTGAUGE_COMPLETE=bash_source driftgauge)"` completes commands, options and choices in bash.
  For zsh and fish write `zsh_source` and `fish_source`.

Some commands need more packages, which `pip install 'driftgauge[EXTRA]'` brings:

| extra | for |
| --- | --- |
| `registry` | the encodings `avro`, `protobuf` and `inference` |
| `parquet` | `baseline fit` and `publish` on Parquet and Arrow files |"""

_HTTP = """\
Every replica answers on `http.port`, 9464 by default. `driftgauge page` does too, but has no `/metrics`.
Health has a port of its own, 9465 by default, without a login.

| path | port | answer | right of a user |
| --- | --- | --- | --- |
| `/` | 9464 | the page | `read` |
| `/static/…` | 9464 | its files | `read` |
| `/api/v1/…` | 9464 | this API | `read` |
| `/metrics` | 9464 | [metrics](metrics.md) for Prometheus, as text or OpenMetrics | `metrics` |
| `/version` | 9464 | `{"version": …, "commit": …}` | `read` |
| `/livez` | 9465 | 200, or 503: restart the process | |
| `/readyz` | 9465 | 200, or 503 with the reasons: a client does not work | |

- Rights hold if [`http.users`](configuration.md#http) names users. Page and API also answer below
  `page.path_prefix`.
- The API only reads. It answers from memory; only `/api/v1/window` asks Kafka.
- In a query a time is RFC 3339 or epoch milliseconds; write the `+` of an offset as `%2B`.
- `/api/v1/openapi.json` has all below as [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.0)."""

_METRICS = """\
The metrics are on `/metrics`, port 9464 by default. The health endpoints `/livez` and `/readyz` are on port
9465.

- The replica that owns a stream's shard exports the stream's series. Another replica exports only the
  outcomes of the stream's records that it counted. So the number of series does not grow with the number of
  replicas.
- A label has the values that the configuration or a baseline names, or a small fixed set. No event adds a
  series, but for its outcome. A mark replaces the series of its stream's mark before.
- A metric has one series for each combination of its labels' values: `stream` and `window` by the
  configuration, `cluster_id` for each cluster of the baseline, `segment` and `value` for each segment that
  the baseline knows (64 at most)."""

_ALERTS = """\
`deploy/kubernetes/chart/files/rules/driftgauge-alerts.yml` holds the rules. A critical alert is a page, a
warning is a ticket. If the severity is "of the stream", it is `labels.severity` of the stream in the
configuration. The time says how long the condition must hold."""

_STATISTICS = """\
Each closed window is compared with the baseline by these statistics. Each has tests of its own, and the
window's `p_value` combines them by their weights, by the Cauchy combination of
[Liu and Xie (2020)](https://doi.org/10.1080/01621459.2018.1554485). The evidence of a significant window,
or of a run of drift, is
attributed to kinds of drift; the largest part names the window's `kind`."""


def documents() -> Mapping[str, str]:
    """Return the text of each document by its path in the repository."""
    made = {
        "configuration": _document("Configuration", _CONFIGURATION, *_sections(settings_schema())),
        "commands": _document("Commands", _COMMANDS, *_helps(cli, ("driftgauge",))),
        "http-api": _document("HTTP API", _HTTP, *_paths(openapi(""))),
        "metrics": _document("Metrics", _METRICS, *_metrics()),
        "alerts": _document("Alerts", _ALERTS, *_alerts()),
        "statistics": _document("Statistics", _STATISTICS, *_statistics()),
    }
    return {f"service/docs/reference/{name}.md": text for name, text in made.items()}


def _document(title: str, *parts: str) -> str:
    return "\n\n".join(
        [f"# {title}", "<!-- Generated by `make generate`; changes here are lost. -->", *parts, ""]
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _sections(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a section for each mapping of the configuration, where it is used first."""
    definitions = schema["$defs"]
    path_of: dict[str, str] = {}
    waiting = [("", schema)]
    while waiting:
        path, section = waiting.pop(0)
        rows, found = [], []
        for name, field in section["properties"].items():
            key = f"{path}.{name}" if path else name
            for suffix, model in _models(field):
                definition = definitions[model]
                # A source may also be written as a text.
                mapping = next(
                    (each for each in definition.get("anyOf", ()) if "properties" in each), definition
                )
                if "properties" in mapping and model not in path_of:
                    path_of[model] = key + suffix
                    found.append((key + suffix, mapping))
            default = "required" if name in section.get("required", ()) else _default(field)
            rows.append((f"`{name}`", _value(field, definitions, path_of), default, field["description"]))
        waiting[:0] = found
        text = fill(section["description"].partition("\n\n")[0], _WIDTH)
        heading = f"## `{path}`\n\n{text}" if path else "## Top level"
        yield f"{heading}\n\n{_table(('key', 'value', 'default', 'meaning'), rows)}"


def _models(field: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names of the definitions that a field refers to, with their place in a list or a map."""
    if "$ref" in field:
        yield "", field["$ref"].rpartition("/")[2]
    for each in field.get("anyOf", ()):
        yield from _models(each)
    if "items" in field:
        yield from (("[]" + suffix, model) for suffix, model in _models(field["items"]))
    for each in _values_of_map(field):
        yield from ((".<name>" + suffix, model) for suffix, model in _models(each))


def _values_of_map(field: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the schema of a map's values; none if the field is no map."""
    values = field.get("additionalProperties")
    return [*field.get("patternProperties", {}).values(), *([values] if isinstance(values, dict) else [])]


def _default(field: Mapping[str, Any]) -> str:
    value = field.get("default")
    return "" if value in (None, "", {}) or "$ref" in field else f"`{json.dumps(value).strip(chr(34))}`"


def _value(field: Mapping[str, Any], definitions: Mapping[str, Any], path_of: Mapping[str, str]) -> str:
    """Return what a field's value is, in words."""

    def words(each: Mapping[str, Any]) -> str:
        return _value(each, definitions, path_of)

    if "$ref" in field:
        model = field["$ref"].rpartition("/")[2]
        if model not in path_of:
            return words(definitions[model])
        anchor = "".join(letter for letter in path_of[model] if letter.isalnum() or letter in "_-")
        return f"[`{path_of[model]}`](#{anchor.lower()})"
    if "anyOf" in field:
        # A number may be a whole number anyway.
        unsaid = {"null", "integer" if {"type": "number"} in field["anyOf"] else "null"}
        return " or ".join(words(each) for each in field["anyOf"] if each.get("type") not in unsaid)
    if "items" in field:
        return f"list of {words(field['items'])}"
    if values := _values_of_map(field):
        return f"map to {words(values[0])}"
    return _simple(field)


def _simple(field: Mapping[str, Any]) -> str:
    """Return what a value that holds no others is, with its bounds."""
    if "enum" in field:
        return ", ".join(f"`{choice}`" for choice in field["enum"])
    if "ms|" in field.get("pattern", ""):
        return "duration"
    if "T[0-9]" in field.get("pattern", ""):
        return "time"
    named = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    formats = {"path": "path", "date-time": "time"}
    value = formats.get(field.get("format", "")) or named.get(field.get("type", ""), "short form")
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most"}
    return ", ".join([value, *(f"{text} {field[key]:,}" for key, text in bounds.items() if key in field)])


def _helps(command: click.Command, words: tuple[str, ...]) -> Iterator[str]:
    """Yield the help of a command and of all commands below it."""
    context = click.Context(
        command, info_name=" ".join(words), max_content_width=_HELP_WIDTH, terminal_width=_HELP_WIDTH
    )
    yield f"## {' '.join(words)}\n\n```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _helps(below, (*words, name))


def _paths(description: Mapping[str, Any]) -> Iterator[str]:
    """Yield a section for each path of the API, then one for each record of its answers."""
    schemas = description["components"]["schemas"]
    found: list[str] = []
    for path, methods in description["paths"].items():
        asked = methods["get"]
        parameters = [
            (
                f"`{each['name']}`",
                _value(each["schema"], schemas, {}) + ", required" * each["required"],
                each["description"],
            )
            for each in asked["parameters"]
        ]
        parts = [f"## `/api/v1{path}`", f"{asked['summary']}."]
        parts += [_table(("parameter", "value", "meaning"), parameters)] * bool(parameters)
        answers = []
        for status, answer in asked["responses"].items():
            (content,) = answer["content"].values()
            record = content["schema"].get("$ref", "").rpartition("/")[2]
            if record == _RESULT:
                link = "[the record](../../../schemas/README.md#reading-window-results)"
            else:
                found += [record] * bool(record)
                link = f"[`{record}`](#{record.lower()})" if record else "text"
            answers.append((status, link, answer["description"]))
        yield "\n\n".join([*parts, _table(("status", "answer", "meaning"), answers)])
    records: list[str] = []
    while found:
        record = found.pop(0)
        if record not in records and "properties" in schemas[record]:
            records.append(record)
            fields = schemas[record]["properties"].values()
            found += [model for field in fields for _, model in _models(field)]
    path_of = {record: record for record in records}
    for record in records:
        rows = [
            (
                f"`{name}`",
                _value(field, schemas, path_of) + _or_null(field),
                " ".join(field["description"].split()),
            )
            for name, field in schemas[record]["properties"].items()
        ]
        text = schemas[record]["description"].partition("\n\n")[0]
        yield f"## `{record}`\n\n{text}\n\n{_table(('field', 'value', 'meaning'), rows)}"


def _or_null(field: Mapping[str, Any]) -> str:
    return " or null" if {"type": "null"} in field.get("anyOf", ()) else ""


def _metrics() -> Iterator[str]:
    by_labels: dict[tuple[str, ...], list[Metric]] = {}
    for metric in METRICS.values():
        by_labels.setdefault(metric.labels, []).append(metric)
    for labels, metrics in by_labels.items():
        named = ", ".join(f"`{label}`" for label in labels)
        rows = [(f"`{each.name}`", each.type, each.unit, each.help) for each in metrics]
        heading = f"## By {named}" if labels else "## Of a replica"
        yield f"{heading}\n\n{_table(('metric', 'type', 'unit', 'meaning'), rows)}"


def _alerts() -> Iterator[str]:
    for group in alerts.groups():
        rows = []
        for (name, reason), rules in groupby(group["rules"], _named):
            same = list(rules)
            severities = ", ".join(map(_severity, same))
            alert = f"[`{name}`]({_RUNBOOKS}/{name}.md)"
            rows.append((alert, reason, severities, same[0]["annotations"]["summary"]))
        yield f"## {group['name']}\n\n{_table(('alert', 'reason', 'severity', 'meaning'), rows)}"


def _named(rule: Mapping[str, Any]) -> tuple[str, str]:
    return rule["alert"], rule["labels"].get("reason", "")


def _severity(rule: Mapping[str, Any]) -> str:
    """Return the severity of a rule and when it has it; a template takes it from the stream's labels."""
    severity = rule["labels"]["severity"]
    if "{{" in severity:
        severity = "of the stream" if "{{ . }}" in severity else "of the stream, a warning at most,"
    return f"{severity} after {rule['for']}" if "for" in rule else f"{severity} at once"


def _statistics() -> Iterator[str]:
    for each in registry.STATISTICS:
        words = WORDS[each.name]
        facts = {
            "kind of drift": f"`{each.kind}`: {words.sentence}",
            "shown": words.text,
            "smallest drift": f"{each.smallest:g} by default. {words.smallest}",
            "advice": words.advice,
            "weight of its tests": ", ".join(f"{weight:.3g}" for weight in each.weights),
            "segments": "tested too" if each.in_segments else "not tested",
            "drift without the windows before": "possible" if each.decides_alone else "not by this statistic",
        }
        numbers = [(f"`{name}`", *about) for name, about in words.numbers.items()]
        yield (
            f"## {words.title}\n\n{_table((f'`{each.name}`', ''), list(facts.items()))}\n\n"
            f"{_table(('number in a result', 'unit', 'meaning'), numbers)}"
        )
