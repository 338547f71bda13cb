"""`detente list methods`: what each is, costs and is chosen for; whole in a pipe, readable in a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from detente import cli
from detente import registry as catalogue
from detente.cli.commands import list as listing
from detente.cli.naming import loaded
from detente.games import presets


def printed(monkeypatch: pytest.MonkeyPatch, width: int) -> list[str]:
    shown = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)
    monkeypatch.setattr(listing, "console", shown)
    assert cli.main(["list", "methods"]) == 0
    return shown.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_a_pipe_gets_one_whole_line_a_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "methods"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    table, places = (
        catalogue.choices("methods"),
        [head.index(word) for word in ("gradients a step", "what it is", "use it", "paper")],
    )
    rows = {line.split()[0]: line for line in lines[: len(table)]}
    assert list(rows) == list(table)
    cells = {n: [r[a:b].strip() for a, b in zip(places, [*places[1:], None], strict=True)] for n, r in rows.items()}
    costs = {"consensus": "4", "extragradient": "4", "smoothing": "3", "past_extragradient": "2", "alternating": "2"}
    assert {name: cells[name][0] for name in costs} == costs
    assert all(cell[1] == catalogue.summary(table[name]) for name, cell in cells.items())
    assert cells["consensus"][3] == "Mescheder, Nowozin & Geiger 2017"
    assert cells["extragradient"][3] == "Korpelevich 1976; Gidel et al. 2019 (arXiv:1802.10551)"
    notes = [line for line in lines[len(table) :] if line.startswith("— ")]
    unfit = [name for name, cell in cells.items() if cell[0] == "—"]
    assert "method" in unfit and all(any(f"{name}:" in n or f"{name}," in n for n in notes) for name in unfit)


@pytest.mark.parametrize("name", sorted(set(catalogue.choices("methods")) - {"method"}))
def test_every_method_says_when_to_use_it_and_names_its_paper(name: str) -> None:
    member = loaded(catalogue.choices("methods")[name])
    registration = member.registration
    assert registration.use and registration.limits and registration.memory and listing.paper(member)
    game = presets.ring(**registration.ring)
    assert registration.cost == pytest.approx(member().gradient_evaluations(game))
    read = catalogue.choices("methods")[name].decoration("registered")
    assert read.pop("ring", {}) == {} and {**vars(registration), **registration.ring} == {
        **read,
        "ring": registration.ring,
    }


@pytest.mark.parametrize("width", [80, 100, listing.WIDE, 200])
def test_a_terminal_gets_whole_words_in_its_width(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    lines = printed(monkeypatch, width)
    assert max(map(len, lines)) <= width
    words = " ".join(" ".join(lines).split())
    assert all(name in words for name in catalogue.choices("methods"))
    if width < listing.WIDE:
        assert "Use it with plain SGD, against rotation at the lowest cost." in words
    else:
        assert {"method", "it", "paper"} <= set(lines[1].split())


def test_what_a_docstring_says_after_a_heading() -> None:
    class Documented:
        """It is.

        Choose: where one may,
            or must.

        Source: Somebody & Other 2017, A Title; with a colon (Name, arXiv:1705.10461), eq. 3; notes of mine;
            Third et al. 1999.
        """

    assert listing.section(Documented, "Choose") == "where one may, or must."
    assert listing.section(Documented, "Args") == "" and listing.paper(object) == ""
    assert listing.paper(Documented) == "Somebody & Other 2017 (arXiv:1705.10461); Third et al. 1999"
