"""The modules: each has at most 400 lines, and starts with a docstring that says what it holds."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 400
# The folders with modules; other folders are installed or generated.
FOLDERS = ("deploy", "service", "tests")
MODULES = sorted(
    path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if "target" not in path.parts
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_modules_are_short_and_start_with_docstrings(folder: str) -> None:
    modules = [path for path in MODULES if path.is_relative_to(ROOT / folder)]
    assert modules
    texts = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in modules}
    lines = {name: text.count("\n") for name, text in texts.items()}
    assert {name: number for name, number in lines.items() if number > MAX_LINES} == {}
    assert [name for name, text in texts.items() if text and not ast.get_docstring(ast.parse(text))] == []
