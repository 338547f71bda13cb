"""The house rules that a program can hold: layers, names, lengths, descriptions, and one file for all derivatives."""

from __future__ import annotations

import ast
import importlib
import tomllib
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

from detente import registry as catalogue

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "detente"
FILES = sorted(SOURCE.rglob("*.py"))
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "core", "manager", "worker"}
LONGEST = 400
LONGER_FOR_A_REASON: dict[str, str] = {  # file, relative to src/detente: why it may pass LONGEST lines
    "derivatives.py": "every derivative in one file, so that one place decides how to differentiate",
    "games/adversarial.py": "the one door by which a user's own modules and data enter, with all that it refuses",
}
DERIVATIVES_FOR_A_REASON = {
    "derivatives.py": "decides how to differentiate",
    "second_order.py": "tells torch the derivatives of single layers; asks for none but a layer's third",
}
CUTS_FOR_A_REASON = {
    "derivatives.py": "makes the leaves of autograd's graph, and takes results off it",
    "modules.py": "copies parameters into the user's own modules, off every graph",
    "module_checks.py": "tries one module's gradient at a point, outside any game",
    "object_graph.py": "copies tensors that a module keeps, on no graph",
    "games/adversarial.py": "looks at the graph of a discriminator's scores once, when the game is built",
    "networks/spectral_norm.py": "the singular vectors are constants by definition; no player is cut off",
}
UNDIFFERENTIATED = ("data/", "metrics/", "report/", "training/record")  # no derivative passes through these
SOURCED_FOLDERS = ("objectives", "penalties", "filters", "fields", "schemes", "optimizers", "metrics")


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


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


def uses(path: Path) -> dict[str, int]:
    """Return every dotted name that a file's code uses or imports, with a line where it does."""
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            found[dotted(node)] = node.lineno
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}": node.lineno for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name: node.lineno for alias in node.names}
    return found


def test_imports_keep_every_contract(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    code = lint_imports(no_cache=True, no_logo=True)
    assert code == 0, capsys.readouterr().out


def test_every_folder_of_members_has_a_contract_between_siblings() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    independent = {module for c in settings["contracts"] if c["type"] == "independence" for module in c["modules"]}
    assert {f"detente.{folder}.*" for folder in catalogue.FOLDERS} <= independent


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_file_names_say_what_is_inside(path: Path) -> None:
    assert not BANNED_NAMES & {path.stem, *path.relative_to(SOURCE).parts[:-1]}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST or name_of(path) in LONGER_FOR_A_REASON, f"{lines} lines: asking to be two files"


def test_reasons_for_length_are_still_needed() -> None:
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert [name for name in LONGER_FOR_A_REASON if lengths.get(name, 0) <= LONGEST] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_public_names_are_described(path: Path) -> None:
    module = ast.parse(path.read_text(encoding="utf-8"))
    named = [n for n in module.body if isinstance(n, ast.ClassDef | ast.FunctionDef) and is_public(n.name)]
    assert ast.get_docstring(module), "the file itself"
    assert [node.name for node in named if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_public_methods_are_described_here_or_on_their_role(path: Path) -> None:
    module = ast.parse(path.read_text(encoding="utf-8"))
    bare = [
        (owner.name, method.name)
        for owner in module.body
        if isinstance(owner, ast.ClassDef) and is_public(owner.name)
        for method in owner.body
        if isinstance(method, ast.FunctionDef) and is_public(method.name) and not ast.get_docstring(method)
    ]
    if bare:
        loaded = importlib.import_module("detente." + name_of(path).removesuffix(".py").replace("/", "."))
        bare = [(owner, method) for owner, method in bare if not is_described(getattr(loaded, owner), method)]
    assert bare == []


@pytest.mark.parametrize("folder", SOURCED_FOLDERS)
def test_members_name_their_source(folder: str) -> None:
    found = catalogue.members(folder)
    assert found, f"no member found in {folder}/"
    assert [name for name, member in found.items() if "Source:" not in (member.__doc__ or "")] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_players_are_never_separated_by_cutting_the_graph(path: Path) -> None:
    """`detach` between players would zero ∂v_D/∂θ_G silently."""
    name = name_of(path)
    if name in CUTS_FOR_A_REASON or name.startswith(UNDIFFERENTIATED):
        return
    cut = {
        use: line for use, line in uses(path).items() if use.split(".")[-1] in {"detach", "detach_", "requires_grad_"}
    }
    assert cut == {}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_derivatives_live_in_one_file(path: Path) -> None:
    name = name_of(path)
    if name in DERIVATIVES_FOR_A_REASON:
        return
    used = uses(path)
    found = {u: line for u, line in used.items() if f"{u}.".startswith(("torch.func.", "torch.autograd."))}
    found |= {u: line for u, line in used.items() if u.split(".")[-1] in {"backward", "functional_call"}}
    if name in ("modules.py", "lending.py"):  # the door for users' modules
        found = {
            u: line
            for u, line in found.items()
            if u not in {"torch.func", "torch.func.functional_call", "functional_call"}
        }
    assert found == {}
