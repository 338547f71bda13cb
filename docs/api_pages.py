"""Fills the API page: every public file of the package gets its section, so that a new member needs no edit here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[1] / "src" / "detente"
MARK = "<!-- every public file -->"


def sections() -> str:
    """Return one heading per folder and one mkdocstrings directive per public file, in the order of the names."""
    text = ["## The mathematics and the tables"]
    for folder in [SOURCE, *sorted(path.parent for path in SOURCE.glob("*/__init__.py"))]:
        package = ".".join(folder.relative_to(SOURCE.parent).parts)
        if folder != SOURCE:
            text.append(f"## {folder.name}")
        text += [f"::: {package}.{file.stem}" for file in sorted(folder.glob("[!_]*.py"))]
    return "\n\n".join(text)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the sections where the API page has its mark (called by MkDocs)."""
    return markdown.replace(MARK, sections()) if page.file.src_uri == "api.md" else markdown
