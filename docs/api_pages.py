"""Fills the API page: every public file of the package gets its section, so that a new member needs no edit here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[1] / "src" / "detente"
MARK = "<!-- every public file -->"


def sections() -> str:
    """Return one heading per folder and one mkdocstrings directive per public file, in the order of the names."""
    text = ["## detente"]
    for folder in [SOURCE, *sorted(path.parent for path in SOURCE.rglob("*/__init__.py"))]:
        parts = folder.relative_to(SOURCE.parent).parts
        files = sorted(folder.glob("[!_]*.py"))
        if folder != SOURCE and files:
            text.append(f"## {'.'.join(parts[1:])}")
        text += [f"::: {'.'.join(parts)}.{file.stem}" for file in files]
    return "\n\n".join(text)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the sections where the API page has its mark (called by MkDocs)."""
    return markdown.replace(MARK, sections()) if page.file.src_uri == "api.md" else markdown
