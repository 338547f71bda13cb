"""Folders of images: reading, resizing, labels, broken files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detente.data import folders
from detente.data.folders import ImageFolder
from detente.errors import InvalidValue


def picture(seed: int, height: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def pixels_of(data: ImageFolder) -> torch.Tensor:
    real = data.take(torch.arange(data.size))["real"]
    return ((real + 1) * 127.5).round().to(torch.uint8)


def test_pixels_are_those_of_the_files_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for seed, name in enumerate(["b.png", "a.PNG", "c.webp"]):
        save(tmp_path / name, picture(seed), **({"lossless": True} if name.endswith("webp") else {}))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    data = ImageFolder(tmp_path)
    assert data.size == 3 and data.shape == (3, 6, 8) and data.class_count is None
    expected = np.stack([picture(seed).transpose(2, 0, 1) for seed in (1, 0, 2)])
    assert np.array_equal(pixels_of(data).numpy(), expected)


def test_sub_folders_are_labels(tmp_path: Path) -> None:
    for index, name in enumerate(["dog/1.png", "cat/9.jpg", "cat/deep/2.png", "dog/0.png"]):
        save(tmp_path / name, picture(index))
    data = ImageFolder(tmp_path)
    assert data.class_names == ("cat", "dog") and data.class_count == 2
    assert data.take(torch.arange(4))["label"].tolist() == [0, 0, 1, 1]
    assert data.draw(5, torch.Generator().manual_seed(0))["label"].shape == (5,)
    save(tmp_path / "stray.png", picture(7))
    assert ImageFolder(tmp_path).class_names == () and ImageFolder(tmp_path / "cat").class_count is None


def test_resolution_resizes_the_shorter_side_and_crops_the_middle(tmp_path: Path) -> None:
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 8:16] = 200
    save(tmp_path / "wide.png", pixels)
    save(tmp_path / "tall.png", pixels.transpose(1, 0, 2).copy())
    read = pixels_of(ImageFolder(tmp_path, resolution=4))
    assert read.shape == (2, 3, 4, 4) and (read >= 180).all() and (read <= 210).all()


def test_grey_images(tmp_path: Path) -> None:
    grey = picture(0)[..., 0]
    save(tmp_path / "grey.png", grey)
    assert np.array_equal(pixels_of(ImageFolder(tmp_path, channels=1))[0, 0].numpy(), grey)
    assert np.array_equal(pixels_of(ImageFolder(tmp_path))[0, 2].numpy(), grey)


def test_sixteen_bits_keep_the_upper_eight_and_palettes_lose_transparency(tmp_path: Path) -> None:
    deep = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300
    save(tmp_path / "deep" / "x.png", deep)
    read = pixels_of(ImageFolder(tmp_path / "deep", channels=1))
    assert np.array_equal(read[0, 0].numpy(), (deep >> 8).astype(np.uint8))
    palette = Image.fromarray(picture(1)).convert("P")
    (tmp_path / "palette").mkdir()
    palette.save(tmp_path / "palette" / "x.png", transparency=bytes([0, 128, 255]))
    assert ImageFolder(tmp_path / "palette").shape == (3, 6, 8)


def test_a_broken_image_is_named_or_skipped(tmp_path: Path) -> None:
    save(tmp_path / "good.png", picture(0))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    save(tmp_path / "cut.png", picture(1, 64, 64))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    with pytest.raises(InvalidValue, match=r"broken\.png.*skip_broken=True"):
        ImageFolder(tmp_path)
    data = ImageFolder(tmp_path, skip_broken=True)
    assert data.size == 1 and [path.name for path in data.skipped] == ["broken.png", "cut.png"]
    assert np.array_equal(pixels_of(data)[0].numpy(), picture(0).transpose(2, 0, 1))
    (tmp_path / "good.png").unlink()
    with pytest.raises(InvalidValue, match="at least one image"):
        ImageFolder(tmp_path, skip_broken=True)


def test_different_sizes_need_a_resolution(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture(0, 6, 8))
    save(tmp_path / "b.png", picture(1, 6, 9))
    with pytest.raises(InvalidValue, match=r"b\.png \(6, 9\).*\(6, 8\) of .*a\.png.*resolution="):
        ImageFolder(tmp_path)
    assert ImageFolder(tmp_path, resolution=6).shape == (3, 6, 6)


def test_progress_is_shown_only_when_it_takes_long(tmp_path: Path, capsys, monkeypatch) -> None:
    for seed in range(3):
        save(tmp_path / f"{seed}.png", picture(seed))
    ImageFolder(tmp_path)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(folders, "PATIENCE", -1.0)
    assert ImageFolder(tmp_path).size == 3
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("options", [{"resolution": 0}, {"resolution": 2.5}, {"channels": 2}])
def test_mistakes_are_named(tmp_path: Path, options: dict) -> None:
    with pytest.raises(InvalidValue, match=next(iter(options))):
        ImageFolder(tmp_path, **options)


def test_a_folder_must_exist_and_hold_images(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="path.*exists"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(InvalidValue, match=r"path.*\.png"):
        ImageFolder(tmp_path)
