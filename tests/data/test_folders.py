"""Folders of images: reading, resizing, labels, broken files."""

from __future__ import annotations

import os
import struct
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


def test_images_are_read_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for seed, name in enumerate(["b.png", "a.PNG", "c.webp"]):
        save(tmp_path / name, picture(seed), **({"lossless": True} if name.endswith("webp") else {}))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    with pytest.warns(UserWarning, match=r"not images: 1 \.txt \(notes.txt\)"):
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
    with pytest.warns(UserWarning, match="sub-folders are not classes"):
        assert ImageFolder(tmp_path).class_names == ()
    assert ImageFolder(tmp_path / "cat").class_count is None


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


def test_sixteen_bit_and_palette_images(tmp_path: Path) -> None:
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
    monkeypatch.setattr(folders, "PROGRESS_DELAY", -1.0)
    assert ImageFolder(tmp_path).size == 3
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("options", [{"resolution": 0}, {"resolution": 2.5}, {"channels": 2}])
def test_invalid_arguments_are_refused(tmp_path: Path, options: dict) -> None:
    with pytest.raises(InvalidValue, match=next(iter(options))):
        ImageFolder(tmp_path, **options)


def test_a_folder_must_exist_and_hold_images(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="path.*exists"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(InvalidValue, match=r"path.*\.png"):
        ImageFolder(tmp_path)


LAYOUTS = {
    "split/class/file": (("train", "cat"), ("train", "dog"), ("val", "cat"), ("test", "dog")),
    "class/split/file": (("cat", "Training"), ("dog", "Training"), ("cat", "validation"), ("dog", "test")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folders_named_like_splits_are_splits_with_the_same_classes(tmp_path: Path, layout: str) -> None:
    for seed, names in enumerate(LAYOUTS[layout]):
        save(tmp_path.joinpath(*names, "x.png"), picture(seed))
    with pytest.warns(UserWarning, match=r"split train is read \(2 images\), not .*validation \(1 images\)"):
        train = ImageFolder(tmp_path)
    assert train.class_names == ("cat", "dog") and train.take(torch.arange(2))["label"].tolist() == [0, 1]
    with pytest.warns(UserWarning, match="split test"):
        test = ImageFolder(tmp_path, split="test")
    assert test.class_names == ("cat", "dog") and test.take(torch.arange(1))["label"].tolist() == [1]
    assert ImageFolder(tmp_path, split=None).size == 4


def test_splits_without_classes(tmp_path: Path) -> None:
    for seed, name in enumerate(["train/a.png", "train/b.png", "test/a.png"]):
        save(tmp_path / name, picture(seed))
    with pytest.warns(UserWarning, match="not test"):
        data = ImageFolder(tmp_path)
    assert data.size == 2 and data.class_count is None


def test_a_missing_split_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "val" / "a.png", picture(0))
    with pytest.raises(InvalidValue, match="split.*validation"):
        ImageFolder(tmp_path)
    assert ImageFolder(tmp_path, split="valid").size == 1
    with pytest.raises(InvalidValue, match="split"):
        ImageFolder(tmp_path, split="cat")


def test_folders_of_splits_and_other_folders_are_refused(tmp_path: Path) -> None:
    for name in ("train", "test", "extra"):
        save(tmp_path / name / "a.png", picture(0))
    with pytest.raises(InvalidValue, match="test, train look like splits, extra do not"):
        ImageFolder(tmp_path)


def test_a_class_may_be_named_test(tmp_path: Path) -> None:
    for name in ("test", "cat"):
        save(tmp_path / name / "a.png", picture(0))
    assert ImageFolder(tmp_path).class_names == ("cat", "test")


def test_symbolic_links_are_followed_except_in_circles(tmp_path: Path) -> None:
    save(tmp_path / "disk" / "cat" / "a.png", picture(0))
    save(tmp_path / "photos" / "dog" / "a.png", picture(1))
    os.symlink(tmp_path / "disk" / "cat", tmp_path / "photos" / "cat")
    os.symlink(tmp_path / "disk" / "cat" / "a.png", tmp_path / "photos" / "dog" / "linked.png")
    os.symlink(tmp_path / "photos", tmp_path / "photos" / "dog" / "round")
    data = ImageFolder(tmp_path / "photos")
    assert data.class_names == ("cat", "dog") and data.take(torch.arange(3))["label"].tolist() == [0, 1, 1]


def test_empty_class_folders_keep_their_number(tmp_path: Path) -> None:
    for name in ("ant", "cow"):
        save(tmp_path / name / "a.png", picture(0))
    (tmp_path / "bee").mkdir()
    with pytest.warns(UserWarning, match="without an image: bee"):
        data = ImageFolder(tmp_path)
    assert data.class_names == ("ant", "bee", "cow") and data.take(torch.arange(2))["label"].tolist() == [0, 2]


FORMATS = {"bmp": "BMP", "tif": "TIFF", "TIFF": "TIFF", "gif": "GIF", "jfif": "JPEG", "ppm": "PPM", "tga": "TGA"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_that_pillow_reads_is_read(tmp_path: Path, suffix: str) -> None:
    flat = np.full((6, 8, 3), 200, np.uint8)
    Image.fromarray(flat).save(tmp_path / f"a.{suffix}", FORMATS[suffix])
    assert (pixels_of(ImageFolder(tmp_path)).int() - 200).abs().max() <= 2


def test_the_first_of_several_frames_is_read(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((6, 8, 3), value, np.uint8)) for value in (0, 255)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="first frame"):
        data = ImageFolder(tmp_path)
    assert int(pixels_of(data).max()) == 0


MODES = {"P": 3, "1": 1, "L": 1, "LA": 1, "RGBA": 3, "CMYK": 3, "I;16": 1}


@pytest.mark.parametrize("mode", MODES)
def test_the_colours_of_every_mode(tmp_path: Path, mode: str) -> None:
    colour = {"1": 255, "L": 90, "LA": (90, 255), "I;16": 90 * 256}.get(mode, (90, 40, 200))
    if mode == "P":
        image = Image.new("P", (8, 6), 1)
        image.putpalette([0, 0, 0, 90, 40, 200] + [0] * 762)
    elif mode == "CMYK":
        image = Image.new("RGB", (8, 6), (90, 40, 200)).convert("CMYK")
    else:
        image = Image.new(mode, (8, 6), (*colour, 255) if mode == "RGBA" else colour)
    image.save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
    expected = {"1": (255,) * 3, "L": (90,) * 3, "LA": (90,) * 3, "I;16": (90,) * 3}.get(mode, (90, 40, 200))
    assert (pixels_of(ImageFolder(tmp_path))[0, :, 0, 0].int() - torch.tensor(expected)).abs().max() <= 1


def test_floating_point_pixels_are_named_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((6, 8), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InvalidValue, match=r"a\.tif.*range is not known"):
        ImageFolder(tmp_path)


@pytest.mark.parametrize("entry", [(0x11A, 2, b"72\0"), (0x11A, 5, b""), (0x9003, 7, b"\xff"), (0x112, 2, b"six\0")])
def test_invalid_exif_data_are_ignored(tmp_path: Path, entry: tuple[int, int, bytes]) -> None:
    tag, kind, value = entry
    head = b"II*\0" + struct.pack("<IH", 8, 2) + struct.pack("<HHI", 0x112, 3, 1) + struct.pack("<HH", 6, 0)
    exif = b"Exif\0\0" + head + struct.pack("<HHI", tag, kind, len(value)) + value.ljust(4, b"\0") + bytes(4)
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg", exif=exif)
    assert ImageFolder(tmp_path).shape in ((3, 8, 6), (3, 6, 8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture(3)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image)).transpose(2, 0, 1)
    assert np.array_equal(pixels_of(ImageFolder(tmp_path))[0].numpy(), expected)
