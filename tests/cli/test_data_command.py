"""`detente data`: what it shows, and its one line for every mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detente import cli
from tests.data.preparation.originals import pictures


@pytest.fixture
def npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DETENTE_CACHE", str(tmp_path / "cache"))
    np.savez(tmp_path / "x.npz", images=pictures(20, 28, 1), labels=np.arange(20) % 4)
    return tmp_path / "x.npz"


def test_a_set_is_prepared_listed_and_described(npz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "list"]) == 0
    before = capsys.readouterr().out
    assert "ylecun/mnist" in before and "202,599" in before and " at 28" not in before
    assert cli.main(["data", "prepare", "mnist-28", "--source", str(npz)]) == 0
    assert "mnist-28: 20 images of 1 × 28 × 28, 0.0 MB, prepared in" in capsys.readouterr().out
    assert cli.main(["data", "prepare", "mnist-28"]) == 0
    assert "already prepared and are undamaged" in capsys.readouterr().out
    assert cli.main(["data", "list"]) == 0
    assert any(line.startswith("mnist ") and line.endswith("at 28") for line in capsys.readouterr().out.splitlines())
    assert cli.main(["data", "info", "mnist-28"]) == 0
    output = capsys.readouterr().out
    for part in ("train 20", "0 0: 5, 1 1: 5", str(npz), "verified: SHA-256", "--game.data.name mnist-28"):
        assert part in output


def test_damage_is_found_by_its_checksum(npz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "prepare", "mnist", "--source", str(npz)]) == 0
    file = npz.parent / "cache" / "sets" / "mnist" / "images.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    capsys.readouterr()
    assert cli.main(["data", "info", "mnist"]) == 2
    error = capsys.readouterr().err
    assert "images.npy has another checksum" in error and "detente data prepare mnist" in error


def test_help_and_no_words_show_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["data"], ["data", "--help"], ["data", "prepare", "--help"]):
        assert cli.main(words) == 0
        assert "detente data prepare" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("lst", "action: got 'lst'; allowed: classifier, info, list, prepare. Did you mean 'list'?"),
        ("prepare", "name"),
        ("prepare mnits", "Did you mean 'mnist'?"),
        ("prepare mnist --source nowhere", "source: got 'nowhere'; allowed: a file or folder that exists"),
        ("prepare mnist --skip-borken", "--skip-broken"),
        ("info mnist", "Run once: detente data prepare mnist"),
        ("info", "name"),
        ("list all", "all"),
    ],
)
def test_mistakes_get_one_line(npz: Path, capsys: pytest.CaptureFixture[str], words: str, expected: str) -> None:
    assert cli.main(["data", *words.split()]) == 2
    caught = capsys.readouterr()
    assert expected in caught.err and caught.err.count("\n") == 1 and caught.out == ""


def test_training_on_a_set_that_is_not_prepared_names_the_command(npz: Path, capsys) -> None:
    networks = "--game.generator dcgan_generator --game.discriminator dcgan_discriminator"
    for data, expected in (
        ("prepared --game.data.name celeba-32", "Run once: detente data prepare celeba-32"),
        ("text --game.data.name one_billion_word", "Run once: detente data prepare one_billion_word"),
        ("ring --game.data.modes 0", "modes: got 0"),
    ):
        words = f"train --game adversarial --game.data {data} {networks} --out {npz.parent / 'run'}"
        assert cli.main(words.split()) == 2
        caught = capsys.readouterr()
        assert expected in caught.err and caught.err.count("\n") == 1
    assert not (npz.parent / "run").exists()
