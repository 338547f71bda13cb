"""Trains all cases of the collected tests of this folder together, since processes take seconds to start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.ranks.job import Result, trained
from tests.ranks.shared_folder import filled_once

Results = dict[str, dict[str, Result]]


@pytest.fixture(scope="session")
def of_modules(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The results of each module's `cases` and `functions`, by the name of the module."""
    items = [item for item in request.session.items if item.path.parent == Path(__file__).parent]
    modules = sorted({f"tests.ranks.{item.path.stem}" for item in items})

    def fill(folder: Path) -> None:
        (folder / "results.json").write_text(json.dumps(trained(modules)), encoding="utf-8")

    folder = filled_once(tmp_path_factory, "trained", fill)
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.fixture
def results(request: pytest.FixtureRequest, of_modules: Results) -> dict[str, Result]:
    """The results of the module's own `cases` and `functions`, by name."""
    return of_modules[request.module.__name__]
