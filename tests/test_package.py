"""The package as it is installed: its data files, its extras, and what importing it loads."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "detente"
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = SETTINGS["project"]["optional-dependencies"]
NOT_CORE = {"datasets", "mlflow", "mlxtend", "pandas", "pyarrow", "sklearn", "tensorboard", "torch_fidelity", "wandb"}
NOT_CORE |= {"optuna", "ray", "submitit"}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", requirement)[0] for requirement in requirements}


def test_every_data_file_is_in_the_wheel() -> None:
    patterns = SETTINGS["tool"]["setuptools"]["package-data"]["*"]
    files = [path for path in SOURCE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert {".html", ".css", ".js"} <= {path.suffix for path in files}
    left_out = [path.name for path in files if not any(fnmatch(path.name, pattern) for pattern in patterns)]
    assert left_out == []


def test_the_core_needs_few_packages() -> None:
    core = names(SETTINGS["project"]["dependencies"])
    assert {"torch", "numpy", "safetensors"} <= core
    assert core & {"mlxtend", "tensorboard", "scikit-learn", "datasets", "wandb", "mlflow"} == set()


def test_every_extra_that_a_message_names_exists() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    named = set(re.findall(r"detente\[(\w+)\]", text)) | set(re.findall(r'^    extra = "(\w+)"', text, re.MULTILINE))
    assert {"digits", "tensorboard", "wandb", "mlflow", "data"} <= named
    assert named - EXTRAS.keys() == set()


def test_the_lock_file_contains_every_extra_that_the_tests_need() -> None:
    locked = {name.lower() for name in names((ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines())}
    assert {"mlxtend", "tensorboard", "scikit-learn", "datasets", "ray", "submitit", "optuna"} <= locked


def test_importing_the_package_loads_no_extra() -> None:
    code = (
        "import sys, detente\n"
        "detente.Stepper, detente.train, detente.compare, detente.search, detente.export, detente.methods.names()\n"
        "from detente.registry import FOLDERS, members\n"
        "[members(folder) for folder in FOLDERS]\n"
        f"print(sorted({NOT_CORE!r} & sys.modules.keys()))\n"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert completed.stdout.strip() == "[]", completed.stdout + completed.stderr


def test_public_names_are_listed_before_they_are_imported() -> None:
    program = "import sys, detente; assert {*detente.__all__} <= {*dir(detente)} and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
