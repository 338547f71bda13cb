"""The house rules that a program can hold: layers, names, lengths, descriptions, and one place for all derivatives."""

from __future__ import annotations

import ast
import importlib
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

from detente import registry

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "detente"
FILES = sorted(SOURCE.rglob("*.py"))
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "core", "manager", "worker"}
MAX_LINES = 400
# Exceptions: file or folder, relative to src/detente, and why.
LONGER = {
    "games/networks.py": "where a user's own networks, losses and data enter, with the checks of them",
    "modules/checks.py": "every check of a user's module, each of which calls copies of it",
}
USES_DERIVATIVES = {
    "autodiff/": "decides how to differentiate",
    "shortcuts/": "gives torch the derivatives of single layers; asks for none but a layer's third",
    "ranks/": "tells torch that the derivative of a sum over ranks is one; asks for none",
    "modules/functional_call.py": "calls a user's module, and takes no derivative: no name but those of CALL",
    "training/graph.py": "rewrites a traced graph without changes in place; takes no derivative",
}
CALL = {"torch.func", "torch.func.functional_call"}
CUTS_THE_GRAPH = {
    "autodiff/": "makes the leaves of autograd's graph, and takes results off it",
    "modules/calling.py": "copies parameters into the user's own modules, off every graph",
    "modules/checks.py": "tries one module's gradient at a point, outside any game",
    "modules/net.py": "copies a tensor that becomes a player",
    "modules/players.py": "freezes modules that no player owns",
    "modules/replaced_layers.py": "lets frozen parameters of a new module be trained; nothing is cut off",
    "modules/object_graph.py": "copies tensors that a module keeps, on no graph",
    "games/adversarial.py": "looks at the graph of a discriminator's scores once, when the game is built",
    "networks/spectral_norm.py": "the singular vectors are constants by definition; no player is cut off",
    "training/graph.py": "keeps the constants of a graph in which all derivatives are traced already",
}
UNDIFFERENTIATED = ("data/", "metrics/", "report/", "training/run_directory/")  # no derivative passes through these
WITH_SOURCE = ("objectives", "penalties", "filters", "fields", "schemes", "optimizers", "metrics")


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@cache
def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def length(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def is_public(name: str) -> bool:
    return not name.startswith("_")


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for a chain of names, and the readable end of any other chain."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def is_described(owner: type, method: str) -> bool:
    """Whether a method has a description here or on a class that `owner` derives from (cached properties too)."""
    return any(getattr(vars(parent)[method], "__doc__", None) for parent in owner.mro() if method in vars(parent))


@cache
def uses(path: Path) -> dict[str, int]:
    """Return every dotted name that a file uses or imports, with its last line."""
    lines: dict[str, int] = {}
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Attribute):
            lines[dotted(node)] = node.lineno
        elif isinstance(node, ast.ImportFrom):
            lines |= {f"{node.module}.{alias.name}": node.lineno for alias in node.names}
        elif isinstance(node, ast.Import):
            lines |= {alias.name: node.lineno for alias in node.names}
    return lines


def is_derivative(name: str) -> bool:
    """Whether a dotted name differentiates, or calls a module with other parameters."""
    library = f"{name}.".startswith(("torch.func.", "torch.autograd."))
    ours = name.startswith("detente.")  # our functional_call calls modules and differentiates nothing
    return library or (not ours and name.split(".")[-1] in {"backward", "functional_call"})


def is_cut(name: str) -> bool:
    return name.split(".")[-1] in {"detach", "detach_", "requires_grad_"}


def test_imports_keep_every_contract(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    code = lint_imports(no_cache=True, no_logo=True)
    assert code == 0, capsys.readouterr().out


def test_every_folder_of_members_has_a_contract_between_siblings() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contracts = [c for c in settings["contracts"] if c["type"] == "independence"]
    independent = {module.removesuffix(".*") for contract in contracts for module in contract["modules"]}
    folders = {
        member.__module__.rpartition(".")[0] for kind in registry.FOLDERS for member in registry.members(kind).values()
    }
    assert sorted(folders - independent) == []


def test_file_names_say_what_is_inside() -> None:
    assert [f for f in map(relative, FILES) if BANNED_NAMES & {*f.removesuffix(".py").split("/")}] == []


def test_files_are_short() -> None:
    lengths = {relative(path): length(path) for path in FILES}
    assert {file: lines for file, lines in lengths.items() if lines > MAX_LINES and file not in LONGER} == {}
    assert [file for file in LONGER if lengths.get(file, 0) <= MAX_LINES] == [], "exceptions that nothing needs"


def test_public_names_are_described() -> None:
    without = [relative(path) for path in FILES if not ast.get_docstring(syntax(path))]
    without += [
        f"{relative(path)}: {node.name}"
        for path in FILES
        for node in syntax(path).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and is_public(node.name) and not ast.get_docstring(node)
    ]
    assert without == []


def test_public_methods_are_described_here_or_on_their_role() -> None:
    without = []
    for path in FILES:
        for owner in syntax(path).body:
            if not isinstance(owner, ast.ClassDef) or not is_public(owner.name):
                continue
            functions = [node for node in owner.body if isinstance(node, ast.FunctionDef) and is_public(node.name)]
            names = [node.name for node in functions if not ast.get_docstring(node)]
            if names:
                module = "detente." + relative(path).removesuffix(".py").replace("/", ".")
                loaded = getattr(importlib.import_module(module), owner.name)
                without += [f"{module}.{owner.name}.{name}" for name in names if not is_described(loaded, name)]
    assert without == []


def test_members_name_their_source() -> None:
    members = {folder: registry.members(folder) for folder in WITH_SOURCE}
    assert all(members.values())
    docs = {f"{folder}/{name}": member.__doc__ or "" for folder in members for name, member in members[folder].items()}
    assert [name for name, doc in docs.items() if "Source:" not in doc] == []


def offenders(is_offence: Callable[[str], bool], exempt: tuple[str, ...]) -> list[str]:
    """Return `file:line: name` of every offence outside the exempt files and folders."""
    return [
        f"{relative(path)}:{line}: {name}"
        for path in FILES
        if not relative(path).startswith(exempt)
        for name, line in uses(path).items()
        if is_offence(name)
    ]


def unneeded(is_offence: Callable[[str], bool], exceptions: dict[str, str]) -> list[str]:
    """Return the exceptions that no file needs."""
    return [
        start
        for start in exceptions
        if not any(relative(path).startswith(start) and any(map(is_offence, uses(path))) for path in FILES)
    ]


def test_players_are_never_separated_by_cutting_the_graph() -> None:
    """`detach` between players would zero ∂v_D/∂θ_G silently."""
    assert offenders(is_cut, (*CUTS_THE_GRAPH, *UNDIFFERENTIATED)) == []
    assert unneeded(is_cut, CUTS_THE_GRAPH) == [], "exceptions that nothing needs"


def test_derivatives_live_in_one_folder() -> None:
    assert offenders(is_derivative, tuple(USES_DERIVATIVES)) == []
    assert unneeded(is_derivative, USES_DERIVATIVES) == [], "exceptions that nothing needs"
    assert {name for name in uses(SOURCE / "modules/functional_call.py") if is_derivative(name)} <= CALL


def test_slow_tests_are_named_as_they_are() -> None:
    """A name of slow.txt that no test has any more would let a slow one into `make test-fast`."""
    missing = [
        name
        for name in (ROOT / "tests" / "slow.txt").read_text(encoding="utf-8").split()
        if f"def {name.partition('::')[2]}(" not in (ROOT / name.partition("::")[0]).read_text(encoding="utf-8")
    ]
    assert missing == [], "make test RECORD=1 writes the list anew"
