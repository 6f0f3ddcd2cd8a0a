"""The service's modules, compiled with their mutations: each behind a switch that tests can turn on."""

import ast
import builtins
from collections.abc import Collection, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Final

from tests.mutants.mutations import Mutation, find_mutations

SERVICE: Final = Path(__file__).parents[2] / "service" / "driftgauge"
_SWITCH: Final = "__mutant__"


def replace_code(code: Mapping[str, CodeType]) -> None:
    """Let this process import modules with other code, by their dotted names."""
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        return code.get(fullname) or original(self, fullname)

    SourceFileLoader.get_code = get_code


class Switch:
    """Turns on one mutation of this process, and records what runs.

    Attributes:
        active: The id of the mutation.
        reached: The ids of mutations whose statements ran, and the modules whose functions did.
    """

    def __init__(self) -> None:
        self.active = ""
        self.reached: set[str] = set()
        setattr(builtins, _SWITCH, self)

    def __call__(self, key: str) -> bool:
        self.reached.add(key)
        return key == self.active


class Module:
    """One module of the service.

    Attributes:
        name: Its path below `driftgauge`.
        dotted: The name to import it by.
        statements: The number of its statements.
        mutations: All its mutations by id.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tree = ast.parse(path.read_text("utf-8"))
        relative = path.relative_to(SERVICE)
        self.name = relative.as_posix()
        self.dotted = ".".join(("driftgauge", *relative.with_suffix("").parts)).removesuffix(".__init__")
        self.statements = sum(isinstance(node, ast.stmt) for node in ast.walk(self._tree))
        self.mutations = {mutation.id: mutation for mutation in find_mutations(self._tree, self.name)}

    def compile(self, keys: Collection[str]) -> CodeType:
        """Return the module's code with some of its mutations behind the switch."""
        return compile(
            add_switches(self._tree, self.name, [self.mutations[key] for key in keys]), self._path, "exec"
        )


def find_modules(package: str) -> list[Module]:
    return [Module(path) for path in sorted((SERVICE / package).rglob("*.py"))]


def add_switches(tree: ast.Module, module: str, mutations: Collection[Mutation]) -> ast.Module:
    """Put each mutation beside its statement, and let each function report module and folder."""
    changed = [(mutation, mutation.change()) for mutation in mutations]
    for node in list(ast.walk(tree)):
        for block in ("body", "orelse", "finalbody"):
            if isinstance(statements := getattr(node, block, None), list):
                statements[:] = [_switched(statement, changed) for statement in statements]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            begin = 1 if ast.get_docstring(node) else 0
            node.body[begin:begin] = [ast.Expr(_call(key)) for key in (module, module.rpartition("/")[0])]
    return ast.fix_missing_locations(tree)


def _switched(statement: ast.stmt, changed: list[tuple[Mutation, ast.stmt]]) -> ast.stmt:
    switched = statement
    for mutation, other in changed:
        if mutation.statement is statement:
            switched = ast.If(_call(mutation.id), [other], [switched])
    return switched


def _call(key: str) -> ast.expr:
    return ast.Call(ast.Name(_SWITCH, ast.Load()), [ast.Constant(key)], [])
