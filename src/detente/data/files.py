"""Files below a folder, and the splits and classes given by the names of its sub-folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detente.deprecated import lookup
from detente.errors import InvalidValue

SPLIT_WORDS = {  # split by name of a folder or file
    **dict.fromkeys(("train", "training", "trainset", "train_set"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "validating", "dev", "eval", "evaluation", "holdout"), "validation"),
    **dict.fromkeys(("test", "testing", "testset", "test_set", "t10k"), "test"),
}
IGNORED_FILES = {"thumbs.db", "desktop.ini", "icon\r"}  # created by file managers


def split_from_name(word: str) -> str | None:
    """Return the split that a name stands for, "train", "validation" or "test", or None."""
    return SPLIT_WORDS.get(word.lower())


def files_below(folder: Path) -> list[Path]:
    """Return all files below a folder, sorted by path.

    Symbolic links are followed. Hidden files and folders, and files created by file managers, are left out.
    """
    files: list[Path] = []
    parents: set[str] = set()  # real paths of the folders above, so that circular links are not followed

    def visit(directory: Path) -> None:
        real_path = os.path.realpath(directory)
        if real_path in parents:
            return
        parents.add(real_path)
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            if entry.name.startswith((".", "__MACOSX")) or entry.name.lower() in IGNORED_FILES:
                continue
            if entry.is_dir():
                visit(directory / entry.name)
            elif entry.is_file():
                files.append(directory / entry.name)
        parents.discard(real_path)

    visit(folder)
    return sorted(files)


def describe_files(files: Sequence[Path]) -> str:
    """Return a description of files: their number by suffix, and examples, e.g. "3 .txt, 1 .db (notes.txt, …)"."""
    suffixes = Counter(file.suffix.lower() or "without a suffix" for file in files)
    counts = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common())
    examples = ", ".join(file.name for file in files[:3])
    return f"{counts} ({examples}{', …' if len(files) > 3 else ''})"


@dataclass(frozen=True)
class FolderLayout:
    """Splits and classes of the files below a folder.

    Args:
        splits: split of each file; all None if no folder is named like a split.
        labels: class of each file, an index into `classes`; None if the folders are not classes.
        classes: names of the class folders of all splits, sorted, including empty folders.
        empty: names of the class folders without files.
        stray: whether sub-folders are not classes because there are files outside of them.
    """

    splits: list[str | None]
    labels: list[int] | None
    classes: tuple[str, ...]
    empty: tuple[str, ...] = ()
    stray: bool = False

    @classmethod
    def of(cls, folder: Path, files: Sequence[Path], field: str) -> FolderLayout:
        """Return the layout of a folder: split/class/file, class/split/file, class/file, split/file or only files.

        If all sub-folders are named like splits (train, val, test, …), they are splits. If every file is in a
        sub-folder and there are at least two sub-folders, they are classes.

        Raises:
            InvalidValue: some sub-folders are named like splits and others are not.
        """
        parents_of_file = [file.relative_to(folder).parts[:-1] for file in files]
        splits: list[str | None] = [None] * len(files)
        class_paths, class_parents = parents_of_file, [folder]
        top_names = sorted({names[0] for names in parents_of_file if names})
        split_names = [name for name in top_names if split_from_name(name)]
        if split_names and all(parents_of_file) and len(split_names) == len(top_names):
            splits, class_paths = (
                [split_from_name(names[0]) for names in parents_of_file],
                [names[1:] for names in parents_of_file],
            )
            class_parents = [folder / name for name in top_names]
        elif {"train"} < {split_from_name(name) for name in split_names}:
            others = sorted(set(top_names) - set(split_names))
            hint = f"{', '.join(split_names)} look like splits, {', '.join(others)} do not"
            raise InvalidValue(field, str(folder), "a folder of splits only, or of classes only", hint)
        elif parents_of_file and all(len(names) > 1 and split_from_name(names[1]) for names in parents_of_file):
            splits, class_paths = (
                [split_from_name(names[1]) for names in parents_of_file],
                [(names[0], *names[2:]) for names in parents_of_file],
            )
        names = sorted({names[0] for names in class_paths if names})
        stray = any(not names for names in class_paths)
        if len(names) < 2 and not (names and any(splits) and not stray) or stray:
            return cls(splits, None, (), stray=stray and len(names) > 1)
        empty = sorted(_folders_in(class_parents) - set(names)) if len(names) > 1 else []
        classes = sorted({*names, *empty})
        return cls(splits, [classes.index(names[0]) for names in class_paths], tuple(classes), tuple(empty))


def _folders_in(class_parents: Sequence[Path]) -> set[str]:
    entries = (entry for directory in class_parents for entry in os.scandir(directory) if entry.is_dir())
    return {entry.name for entry in entries if not entry.name.startswith((".", "__"))}


__getattr__ = lookup(__name__)
