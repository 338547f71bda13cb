"""README.md: its Python code runs, its shell lines are valid, and its tree lists existing files."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import l1_loss
from torch.nn.utils import parametrizations
from torch.utils.data import DataLoader, Dataset, TensorDataset

import detente
from detente import cli, methods
from detente.cli.entry_point import commands

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str = "") -> list[str]:
    """Return the fenced blocks of a language, in order."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for spoken, text in fenced if spoken == language]


# ---- In your own code ----------------------------------------------------------------------------------------------

LATENT, SIDE = 64, 6


class TiedGenerator(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(LATENT, LATENT), nn.Linear(LATENT, LATENT)
        self.second.weight = self.first.weight
        self.last = head()

    def forward(self, latents: Tensor) -> Tensor:
        return self.last(self.second(torch.relu(self.first(latents))))


def head(inputs: int = LATENT) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, SIDE * SIDE), nn.Tanh(), nn.Unflatten(1, (1, SIDE, SIDE)))


def plain_generator() -> nn.Module:
    return nn.Sequential(nn.Linear(LATENT, 8), nn.ReLU(), head(8))


def plain_discriminator() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))


def batch_norm() -> tuple[nn.Module, nn.Module]:
    generator = nn.Sequential(nn.Linear(LATENT, 8), nn.BatchNorm1d(8), nn.ReLU(), head(8))
    convolution = nn.Conv2d(1, 4, 3, stride=2)
    return generator, nn.Sequential(convolution, nn.BatchNorm2d(4), nn.LeakyReLU(0.2), nn.Flatten(), nn.LazyLinear(1))


def torchs_spectral_norm() -> tuple[nn.Module, nn.Module]:
    layers = [parametrizations.spectral_norm(nn.Linear(SIDE * SIDE, 8)), nn.ReLU(), nn.Linear(8, 1)]
    return plain_generator(), nn.Sequential(nn.Flatten(), *layers)


def spectral_norm_by_hook() -> tuple[nn.Module, nn.Module]:
    layers = [nn.utils.spectral_norm(nn.Linear(SIDE * SIDE, 8)), nn.ReLU(), nn.Linear(8, 1)]
    return plain_generator(), nn.Sequential(nn.Flatten(), *layers)


def dropout() -> tuple[nn.Module, nn.Module]:
    return plain_generator(), nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(SIDE * SIDE, 1))


def weight_norm() -> tuple[nn.Module, nn.Module]:
    layers = [parametrizations.weight_norm(nn.Linear(SIDE * SIDE, 8)), nn.Tanh(), nn.Linear(8, 1)]
    return plain_generator(), nn.Sequential(nn.Flatten(), *layers)


def tied_weights() -> tuple[nn.Module, nn.Module]:
    return TiedGenerator(), plain_discriminator()


Pair = Callable[[], tuple[nn.Module, nn.Module]]
NETWORKS: list[Pair] = [batch_norm, torchs_spectral_norm, spectral_norm_by_hook, dropout, weight_norm, tied_weights]


def pixels() -> Tensor:
    """Return 96 real images, uint8 (96, 6, 6), half of them bright."""
    noise = torch.randint(0, 100, (96, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    return (noise + 150 * (torch.arange(96) % 2)[:, None, None]).to(torch.uint8)


def floating() -> Tensor:
    return pixels()[:, None].float() / 127.5 - 1


class Labelled(Dataset):
    """Images with a label each."""

    def __len__(self) -> int:
        return 96

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return floating()[index], index % 2


def as_tensor() -> tuple[Any, Iterable]:
    return floating(), DataLoader(TensorDataset(floating()), batch_size=32)


def as_array() -> tuple[Any, Iterable]:
    return np.asarray(pixels()), floating().split(32)


def as_dataset() -> tuple[Any, Iterable]:
    return Labelled(), DataLoader(Labelled(), batch_size=32, shuffle=True)


def seeded(make: Pair) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        pair = make()
        pair[1](floating())  # called before, as a user's modules may have been
    return pair


def carry_out(networks: Pair, data: Callable[[], tuple[Any, Iterable]]) -> dict[str, Any]:
    """Return the names that the README's first Python block defines."""
    images, loader = data()
    generator, discriminator = seeded(networks)
    names = {"generator": generator, "discriminator": discriminator, "images": images, "loader": loader}
    with torch.random.fork_rng():
        torch.manual_seed(4)
        exec(compile(blocks("python")[0], "README.md", "exec"), names)
    return names


CASES = [(networks, as_tensor) for networks in NETWORKS] + [(batch_norm, as_array), (dropout, as_dataset)]


@pytest.mark.parametrize(
    ("networks", "data"),
    [pytest.param(*case, id="-".join(part.__name__ for part in case)) for case in CASES],
)
def test_python_code_runs(networks: Pair, data: Callable[[], tuple[Any, Iterable]]) -> None:
    """It trains the user's kinds of module on the user's kinds of data, and gives modules of these kinds back."""
    names = carry_out(networks, data)
    assert int(names["stepper"].state.t) == 3
    info = names["info"]
    assert set(info.losses) == set(info.gradient_norm) == {"generator", "discriminator"}
    assert bool(info.finite) and info.gradient_evaluations == 4
    fakes = names["fakes"]
    assert fakes.shape == (64, 1, SIDE, SIDE) and fakes.isfinite().all() and fakes.std() > 0

    for name, original in zip(("generator", "discriminator"), seeded(networks), strict=True):
        trained = names[name]
        assert type(trained) is type(original) and not trained.training
        before, after = original.state_dict(), trained.state_dict()
        assert before.keys() == after.keys()
        assert any(not torch.equal(before[key], after[key]) for key, _ in original.named_parameters())


@pytest.mark.parametrize("networks", [pytest.param(networks, id=networks.__name__) for networks in NETWORKS])
def test_the_users_modules_do_not_change(networks: Pair) -> None:
    images, loader = as_tensor()
    generator, discriminator = seeded(networks)
    modules = {"generator": generator, "discriminator": discriminator}
    untouched = seeded(networks)
    exec(compile(blocks("python")[0], "README.md", "exec"), {**modules, "images": images, "loader": loader})
    for module, twin in zip(modules.values(), untouched, strict=True):
        assert module.training
        torch.testing.assert_close({**module.state_dict()}, {**twin.state_dict()}, rtol=0, atol=0)


def test_returned_modules_generate_the_samples() -> None:
    """What `modules` returns is what `sample` shows: the trained generator in evaluation mode."""
    names = carry_out(batch_norm, as_tensor)
    stepper = names["stepper"]
    latents = torch.randn(64, LATENT, generator=torch.Generator().manual_seed(int(stepper.state.t)))
    with torch.no_grad():
        torch.testing.assert_close(names["generator"](latents), names["fakes"])


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 8), nn.ReLU(), head(8))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def test_code_of_a_game_of_networks_runs() -> None:
    images = torch.rand(32, 1, SIDE, SIDE) * 2 - 1
    items: Any = [{"image": image} for image in images]
    loader = DataLoader(items, batch_size=8, shuffle=True)
    names = {"detente": detente, "methods": methods, "loader": loader, "relu": torch.relu, "l1_loss": l1_loss}
    names |= {"Autoencoder": Autoencoder, "Judge": plain_discriminator}
    exec(compile(blocks("python")[1], "README.md", "exec"), names)
    assert set(names["info"].terms["autoencoder"]) == {"l1", "adversarial"}
    assert isinstance(names["modules"]["autoencoder"], Autoencoder)


def test_the_number_of_methods() -> None:
    number = f"{len(methods.names())} "
    for page, words in {
        "README.md": "published training methods",
        "docs/index.md": "published training methods",
        "docs/who.md": "others",
    }.items():
        assert number + words in (ROOT / page).read_text(encoding="utf-8"), page


# ---- From the shell ------------------------------------------------------------------------------------------------


def shell_lines() -> list[str]:
    """Return the lines that begin with `detente`, continued ones joined, without their comments."""
    text = "\n".join(block for block in blocks() if "detente train" in block).replace("\\\n", " ")
    return [shlex.join(shlex.split(line, comments=True)) for line in text.splitlines() if line.startswith("detente")]


def test_shell_lines_are_found() -> None:
    assert {line.split()[1] for line in shell_lines()} == set(commands()) - {"demo"}


MYNETS = """
from torch import nn

class Generator(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(128, 48), nn.Tanh(), nn.Unflatten(1, (3, 4, 4)))

class Discriminator(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(48, 1))
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the lines require: `mynets.py` and `photos/`."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "mynets.py").write_text(MYNETS)
    (folder / "photos").mkdir()
    for index in range(1000):  # fewer are too few for a discriminator, which `train` warns of
        shade = np.random.default_rng(index).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(shade).save(folder / "photos" / f"{index}.png")
    return folder


def described_only(run: Any, directory: Path, described: dict[str, Any], *_: Any, **__: Any) -> int:
    """Replaces a training: only writes the configuration."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "run.yaml").write_text(yaml.safe_dump(described))
    return 0


@pytest.fixture(scope="module")
def outcomes(desk: Path) -> dict[str, tuple[int, str]]:
    """Exit status and standard error of each line, run in order without training."""
    from detente.cli.commands import compare, resume, search, train
    from detente.training.loop import initial_progress
    from detente.training.run_directory import checkpoint

    def all_described(runs: dict[str, tuple[Any, dict]], folder: Path, **_: Any) -> int:
        return max(described_only(run, folder / label, described) for label, (run, described) in runs.items())

    importlib.import_module("detente.comparison.compare")  # before the functions that it uses are replaced
    results = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "carry_out", described_only)
        patch.setattr(resume, "carry_out", described_only)
        patch.setattr(compare, "carry_out_all", all_described)
        patch.setattr(compare, "carry_out_on", lambda _, runs, folder, *__: all_described(runs, folder))
        patch.setattr(search, "carry_out_search", lambda *_: 0)
        patch.setattr("detente.comparison.tuning.tune_learning_rates", lambda runs, *_: runs)
        patch.setattr(checkpoint, "load", lambda _, run: tuple(initial_progress(run, seed) for seed in run.seeds))
        patch.setattr("detente.report.page.write_report", lambda runs, out: out)
        patch.setattr("detente.cli.result_tables.outcome_table", lambda runs: "")
        patch.chdir(desk)
        for line in shell_lines():
            with contextlib.redirect_stderr(io.StringIO()) as errors:
                results[line] = cli.main(shlex.split(line)[1:]), errors.getvalue()
    return results


# `diagnose` reads a trained run, which these have not; its own test has one.
LINES = [line for line in shell_lines() if "diagnose" not in line]


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, id=f"{number} {line.split()[1]}") for number, line in enumerate(LINES, 1)],
)
def test_shell_lines_are_valid(line: str, outcomes: dict[str, tuple[int, str]]) -> None:
    assert outcomes[line] == (0, "")


@pytest.mark.parametrize(
    ("directory", "steps", "seeds"),
    [
        ("runs/one", 3000, [0, 1]),  # resumed
        ("runs/digits", 200, [0]),
        ("runs/ring/simultaneous", 2000, [0, 1, 2]),
        ("runs/ring/consensus", 2000, [0, 1, 2]),
        ("runs/ring/extragradient", 2000, [0, 1, 2]),
        ("runs/two", 4000, [0, 1]),  # steps changed, seeds from the file
        ("runs/mine", 2000, [0]),
    ],
)
def test_shell_lines_write_the_runs_they_name(
    directory: str, steps: int, seeds: list[int], desk: Path, outcomes: dict[str, tuple[int, str]]
) -> None:
    del outcomes
    content = yaml.safe_load((desk / directory / "run.yaml").read_text())
    assert (content["steps"], list(content["seeds"])) == (steps, seeds)


def test_sample_draws_a_picture(desk: Path, outcomes: dict[str, tuple[int, str]]) -> None:
    del outcomes
    with Image.open(desk / "grid.png") as picture:
        assert picture.size == (8 * 30 - 2, 8 * 30 - 2)


# ---- How GAN training works, in folders ----------------------------------------------------------------------------


def named_in_tree() -> set[str]:
    """Return the files (with suffix) and folders (with slash) that the tree names."""
    (tree,) = (block for block in blocks() if block.startswith("src/detente/"))
    lines = [re.sub(r"^[├└]── ", "", line) for line in tree.splitlines()[1:]]
    return {name for line in lines for name in re.match(r"(?:\S+(?:\.py|/)\s*)+", line)[0].split()}  # type: ignore[index]


def test_tree_names_only_what_exists() -> None:
    missing = {name for name in named_in_tree() if not (ROOT / "src/detente" / name).exists()}
    assert missing == set()


def test_tree_names_every_folder() -> None:
    package = ROOT / "src/detente"
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py") if any(path.parent.glob("[!_]*.py"))}
    assert folders - named_in_tree() == set()


def test_links_of_the_readme_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links)


# ---- What the documents say in numbers -----------------------------------------------------------------------------


def test_the_table_of_methods_is_up_to_date() -> None:
    import runpy

    script = runpy.run_path(str(ROOT / "docs/methods_table.py"))
    assert script["page"]() == (ROOT / "docs/choosing.md").read_text(encoding="utf-8"), (
        "run python docs/methods_table.py"
    )


def test_thresholds_in_scaling_equal_those_in_the_code() -> None:
    from detente.training.execution import CHUNK, SMALL, WORTH_A_CHUNK, WORTH_COMPILING, WORTH_MAPPING

    text = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    assert f"at most {SMALL:,}\n" in text or f"at most {SMALL:,} parameters" in text
    assert f"at least {WORTH_COMPILING:,}" in text and f"{WORTH_MAPPING} or more of an eager" in text
    assert f"| {CHUNK} if steps × seeds is at least {WORTH_A_CHUNK:,}" in text
