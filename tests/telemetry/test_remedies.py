"""Every warning and error that the service logs carries a remedy for the operator."""

import ast
from collections.abc import Iterator
from pathlib import Path

import driftgauge

SERVICE = Path(driftgauge.__file__).parent
LEVELS = {"WARNING", "ERROR", "CRITICAL"}
METHODS = {"warning", "error", "exception", "critical"}


def remedies(source: str) -> Iterator[tuple[int, bool]]:
    """Yield the line of each logged warning or error, and whether it has a remedy."""
    for call in ast.walk(ast.parse(source)):
        match call:
            case ast.Call(func=ast.Attribute(ast.Name("_log"), method), keywords=keywords) if (
                method in METHODS
            ):
                extra = [each.value for each in keywords if each.arg == "extra"]
                yield call.lineno, any(isinstance(each, ast.Dict) and has_remedy(each) for each in extra)
            case ast.Call(
                func=ast.Attribute(attr="_log_event"), args=[ast.Attribute(attr=level), *_], keywords=keywords
            ) if level in LEVELS:
                yield call.lineno, any(each.arg == "remedy" for each in keywords)


def has_remedy(extra: ast.Dict) -> bool:
    return any(isinstance(key, ast.Constant) and key.value == "remedy" for key in extra.keys)


def test_every_warning_and_error_has_remedy():
    found = {
        f"{path.relative_to(SERVICE)}:{line}": remedy
        for path in sorted(SERVICE.rglob("*.py"))
        for line, remedy in remedies(path.read_text("utf-8"))
    }
    assert len(found) > 30, "the search finds the calls"
    assert [where for where, remedy in found.items() if not remedy] == []


def test_search_finds_calls_without_remedy():
    source = """
_log.info("a")
_log.warning("b")
_log.error("c", extra={"remedy": "d"})
self._log_event(logging.INFO, "e")
self._log_event(logging.ERROR, "f", error=g)
self._log_event(logging.WARNING, "h", remedy="i")
"""
    assert list(remedies(source)) == [(3, False), (4, True), (6, False), (7, True)]
