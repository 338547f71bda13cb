"""Files below a folder: which there are, and what the names of the folders above them mean."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detente.errors import InvalidValue

SPLIT_WORDS = {  # what folders and files of splits are called: the split
    **dict.fromkeys(("train", "training", "trainset", "train_set"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "validating", "dev", "eval", "evaluation", "holdout"), "validation"),
    **dict.fromkeys(("test", "testing", "testset", "test_set", "t10k"), "test"),
}
LITTER = {"thumbs.db", "desktop.ini", "icon\r"}  # what file managers leave behind


def split_named(word: str) -> str | None:
    """Return the split that the name of a folder or file means: "train", "validation" or "test"; else None."""
    return SPLIT_WORDS.get(word.lower())


def files_below(folder: Path) -> list[Path]:
    """Return all files in a folder or below it, in the order of their paths, symbolic links followed.

    Hidden files and folders, and what file managers leave behind, are not among them.
    """
    files: list[Path] = []
    entered: set[str] = set()  # real paths of the folders above: a link to one of them would lead round in circles

    def enter(place: Path) -> None:
        real = os.path.realpath(place)
        if real in entered:
            return
        entered.add(real)
        for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
            if entry.name.startswith((".", "__MACOSX")) or entry.name.lower() in LITTER:
                continue
            if entry.is_dir():
                enter(place / entry.name)
            elif entry.is_file():
                files.append(place / entry.name)
        entered.discard(real)

    enter(folder)
    return sorted(files)


def counted(files: Sequence[Path]) -> str:
    """Return in words how many files of which kinds there are, e.g. "3 .txt, 1 .db (notes.txt, …)"."""
    kinds = Counter(file.suffix.lower() or "without a suffix" for file in files)
    kinds_in_words = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    examples = ", ".join(file.name for file in files[:3])
    return f"{kinds_in_words} ({examples}{', …' if len(files) > 3 else ''})"


@dataclass(frozen=True)
class Layout:
    """What the folders above some files mean.

    Args:
        splits: the split of each file; all None where the folders name none.
        labels: the class of each file, a place in `classes`; None where the folders name no classes.
        classes: names of the class folders, sorted, over all splits, empty folders among them.
        empty: class folders without a file.
        stray: whether class folders mean nothing, since there are files outside of them.
    """

    splits: list[str | None]
    labels: list[int] | None
    classes: tuple[str, ...]
    empty: tuple[str, ...] = ()
    stray: bool = False

    @classmethod
    def of(cls, folder: Path, files: Sequence[Path], field: str) -> Layout:
        """Return the layout of a folder: split/class/file, class/split/file, class/file, split/file or files alone.

        Where every file lies in a sub-folder and there are at least two of these, they are classes; sub-folders that
        are all called like splits (train, val, test, …) are splits.

        Raises:
            InvalidValue: some sub-folders are called like splits, others not, so that nobody knows what is meant.
        """
        above = [file.relative_to(folder).parts[:-1] for file in files]
        splits: list[str | None] = [None] * len(files)
        within, places = above, [folder]
        first = sorted({names[0] for names in above if names})
        called = [name for name in first if split_named(name)]
        if called and all(above) and len(called) == len(first):
            splits, within = [split_named(names[0]) for names in above], [names[1:] for names in above]
            places = [folder / name for name in first]
        elif {"train"} < {split_named(name) for name in called}:
            hint = f"{', '.join(called)} look like splits, {', '.join(sorted(set(first) - set(called)))} do not"
            raise InvalidValue(field, str(folder), "a folder of splits alone, or of classes alone", hint)
        elif above and all(len(names) > 1 and split_named(names[1]) for names in above):
            splits, within = [split_named(names[1]) for names in above], [(names[0], *names[2:]) for names in above]
        names = sorted({names[0] for names in within if names})
        stray = any(not names for names in within)
        if len(names) < 2 and not (names and any(splits) and not stray) or stray:
            return cls(splits, None, (), stray=stray and len(names) > 1)
        empty = sorted(_folders_in(places) - set(names)) if len(names) > 1 else []
        classes = sorted({*names, *empty})
        return cls(splits, [classes.index(names[0]) for names in within], tuple(classes), tuple(empty))


def _folders_in(places: Sequence[Path]) -> set[str]:
    entries = (entry for place in places for entry in os.scandir(place) if entry.is_dir())
    return {entry.name for entry in entries if not entry.name.startswith((".", "__"))}
