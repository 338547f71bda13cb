"""The library in a user's own loop: any modules, any loader, and one line for every mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import detente
from detente import methods
from detente.errors import InvalidValue
from detente.game import Game
from detente.games.dirac_gan import DiracGAN
from detente.games.quadratic import Bilinear
from detente.modules.calling import call, trainable
from detente.modules.layout import Layout
from detente.networks.mlp import MLP
from detente.penalties.gradient_penalty import GradientPenalty
from tests.refusals import Refusals, expected, refusal, refusals

Made = TypeVar("Made", bound=nn.Module)


class Own(nn.Module):
    """A generator with BatchNorm, reshaping, and its own buffer."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(5, 8), nn.BatchNorm1d(8)
        self.last = nn.Linear(8, 16)
        self.register_buffer("scale", torch.tensor(0.9))

    def forward(self, latent: Tensor) -> Tensor:
        return torch.tanh(self.last(torch.relu(self.norm(self.first(latent))))).reshape(-1, 1, 4, 4) * self.scale


def judge() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(12, 1))


def images(count: int = 24) -> Tensor:
    return 2 * torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0)) - 1


def seeded(make: Callable[[], Made]) -> Made:
    with torch.random.fork_rng():
        torch.manual_seed(6)
        return make()


def game(**settings: object) -> detente.Adversarial:
    arguments = {"generator": seeded(Own), "discriminator": seeded(judge), "data": images(), "latent": 5, "batch": 8}
    return detente.Adversarial(**{**arguments, **settings})  # type: ignore[arg-type]


def test_the_example_of_the_readme() -> None:
    """Custom modules, a loader's batches, the information of a step, samples, and the trained modules."""
    generator, discriminator = seeded(Own), seeded(judge)
    data = TensorDataset(images(), torch.arange(24) % 3)
    loader = DataLoader(data, batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(0))
    played = detente.Adversarial(generator, discriminator, data, latent=5, batch=8)
    stepper = detente.Stepper(played, methods.consensus(strength=0.1, learning_rate=1e-2), seed=0)
    for batch in loader:
        info = stepper.step(batch)
        assert set(info.losses) == set(info.gradient_norm) == {"generator", "discriminator"}
        assert all(loss.shape == () and bool(loss.isfinite()) for loss in info.losses.values())
        assert all(float(norm) > 0 for norm in info.gradient_norm.values())
        assert info.gradient_evaluations == 4
        assert bool(info.finite)
    assert int(stepper.state.t) == 3

    samples = stepper.sample(7)
    assert samples.shape == (7, 1, 4, 4) and not samples.requires_grad
    trained, judging = stepper.modules()
    assert isinstance(trained, Own) and not trained.training and not judging.training
    torch.testing.assert_close(
        played.layouts["generator"].flatten(dict(trained.named_parameters())).data,
        stepper.state.vectors["generator"],
        rtol=0,
        atol=0,
    )
    assert not torch.equal(trained.first.weight, generator.first.weight), "the user's module is left alone"
    assert int(trained.state_dict()["norm.num_batches_tracked"]) == 3
    with torch.no_grad():
        latents = torch.randn(7, 5, generator=torch.Generator().manual_seed(3))
        torch.testing.assert_close(samples, trained(latents))  # in evaluation mode, seeded by the step


METHODS = {name: make() for name, make in methods.names().items()}


@cache
def find_refusals() -> Refusals:
    """Return the errors of the methods that do not fit a GAN with BatchNorm and a penalty."""
    pairs = [("penalty", name) for name in METHODS]
    return refusals(pairs, {"penalty": lambda: game(penalties=GradientPenalty())}, METHODS)


@pytest.mark.parametrize("name", [name for name in METHODS if ("penalty", name) not in find_refusals()])
def test_every_method_that_fits_steps_in_a_users_loop(name: str) -> None:
    stepper = detente.Stepper(game(penalties=GradientPenalty()), METHODS[name])
    before = stepper.state.vectors
    for batch in images().split(8):
        info = stepper.step(batch)
    assert bool(info.finite) and int(stepper.state.t) == 3
    assert all(not torch.equal(before[player], vector) for player, vector in stepper.state.vectors.items())


def test_a_method_that_does_not_fit_is_refused_before_the_first_step() -> None:
    """The expected refusals are in refusals.yaml, which `python -m tests.refusals` writes."""
    played = game(penalties=GradientPenalty())
    errors = {
        ("penalty", name): refusal(lambda method=method: detente.Stepper(played, method))
        for name, method in METHODS.items()
    }
    assert {pair: error for pair, error in errors.items() if error} == expected(__name__)
    assert find_refusals() == expected(__name__)


def test_batches_may_be_tensors_sequences_or_dictionaries() -> None:
    vectors = []
    for batch in (images(8), [images(8), torch.arange(8)], {"real": images(8)}):
        stepper = detente.Stepper(game(), methods.alternating(), seed=1)
        stepper.step(batch)
        vectors.append(stepper.state.vectors)
    torch.testing.assert_close(vectors[0], vectors[1], rtol=0, atol=0)
    torch.testing.assert_close(vectors[0], vectors[2], rtol=0, atol=0)


def test_a_last_batch_may_be_smaller() -> None:
    stepper = detente.Stepper(game(), methods.alternating())
    assert bool(stepper.step(images(8)).finite) and bool(stepper.step(images(3)).finite)


def test_results_depend_on_the_seed_alone_and_not_on_sampling() -> None:
    def walk(seed: int, look: bool) -> dict[str, Tensor]:
        stepper = detente.Stepper(game(generator=Own, discriminator=judge), methods.extragradient(), seed=seed)
        for _ in range(3):
            stepper.step()
            if look:
                stepper.sample(4)
                stepper.modules()
        return stepper.state.flat()

    torch.testing.assert_close(walk(0, look=True), walk(0, look=False), rtol=0, atol=0)
    assert not torch.equal(walk(0, look=False)["vectors/generator"], walk(1, look=False)["vectors/generator"])


def test_the_compiled_flag_uses_the_traced_step(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr("detente.training.inductor.compile_graph", lambda graph, example: calls.append(1) or graph)
    states = []
    for compiled in (False, True):
        stepper = detente.Stepper(DiracGAN(), methods.alternating(), compiled=compiled)
        for _ in range(3):
            info = stepper.step()
        assert info.losses["generator"].shape == ()
        states.append(stepper.state.flat())
    torch.testing.assert_close(states[0], states[1])
    assert calls == [1], "one graph for all steps"


def test_compiled_code_is_stored_in_the_cache_or_where_the_user_chooses(tmp_path: Path) -> None:
    script = """
import os
import torch
import detente
from detente import methods
from detente.games.dirac_gan import DiracGAN
from detente.training import inductor
from torch._inductor.runtime.cache_dir_utils import cache_dir

inductor.compile_graph = lambda graph, example: print(cache_dir()) or graph
detente.Stepper(DiracGAN(), methods.simultaneous(), compiled=True).step()
os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.environ["OWN"]
detente.Stepper(DiracGAN(), methods.simultaneous(), compiled=True).step()
"""
    environment = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    environment |= {"DETENTE_CACHE": str(tmp_path), "OWN": str(tmp_path / "own")}
    completed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert completed.stdout.split() == [str(tmp_path / "inductor"), str(tmp_path / "own")]


def test_games_without_modules_can_be_trained() -> None:
    stepper = detente.Stepper(Bilinear(start=(1.0, 0.0)), methods.simultaneous("sgd", 0.5))
    stepper.step()
    torch.testing.assert_close(stepper.state.vectors, {"x": torch.ones(1).double(), "y": 0.5 * torch.ones(1).double()})
    assert {name: vector.tolist() for name, vector in stepper.modules().items()} == {"x": [1.0], "y": [0.5]}
    with pytest.raises(InvalidValue, match="game: got 'Bilinear'; allowed: a game with one generator"):
        stepper.sample(3)
    with pytest.raises(InvalidValue, match="batch: got 'Tensor'; allowed: nothing: this game draws no batch"):
        stepper.step(images())


class Cycle(Game):
    """Two generators and one discriminator with BatchNorm, whose modules the game itself keeps."""

    players = ("generators", "judge")  # pyright: ignore[reportAssignmentType]

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.nets = {
            "there": nn.Linear(2, 2),
            "back": nn.Linear(2, 2),
            "judge": nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1)),
        }

    def initial(self, generator):
        self.of = {name: Layout.of(trainable(net), name) for name, net in self.nets.items()}
        flat = {name: self.of[name].flatten(trainable(net)).detach() for name, net in self.nets.items()}
        buffers = {name: buffer.clone() for name, buffer in self.nets["judge"].named_buffers()}
        vectors = {"generators": torch.cat([flat["there"], flat["back"]]), "judge": flat["judge"]}
        return vectors, {"generators": {}, "judge": buffers}

    def losses(self, vectors, buffers, batch, players=None):
        there, back = vectors["generators"].split([self.of[name].size for name in ("there", "back")])
        fake, _ = call(self.nets["there"], self.of["there"], there, {}, batch["x"])
        again, _ = call(self.nets["back"], self.of["back"], back, {}, fake)
        score, judged = call(self.nets["judge"], self.of["judge"], vectors["judge"], buffers["judge"], fake)
        losses = {"generators": (again - batch["x"]).square().mean() - score.mean(), "judge": score.square().mean()}
        return {name: losses[name] for name in players or self.players}, {"generators": {}, "judge": judged}

    def draw(self, generator):
        return {"x": torch.randn(8, 2, generator=generator)}


def test_custom_games_take_batches_and_return_modules() -> None:
    game: Any = Cycle()
    stepper = detente.Stepper(game, methods.extragradient())
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(5))
    for batch in ({"x": x}, {"x": x.numpy()}, None):
        assert stepper.step(batch).losses["judge"].isfinite()
    with pytest.raises(InvalidValue, match=r"batch: got \['y'\]; allowed: a dictionary with x"):
        stepper.step({"y": x})
    modules, state = stepper.modules(), stepper.state
    there, back = modules["generators"]
    lent = torch.cat([p.detach().flatten() for net in (there, back) for p in (net.weight, net.bias)])
    assert torch.equal(lent, state.vectors["generators"])
    judge = modules["judge"]
    assert not judge.training
    assert torch.equal(judge[0].running_mean, state.buffers["judge"]["0.running_mean"])
    assert not torch.equal(judge[1].weight, game.nets["judge"][1].weight)


def test_modules_with_hooks_are_returned() -> None:
    """`torch.nn.utils.spectral_norm` leaves a computed weight in the module, which deepcopy refuses."""
    discriminator = nn.Sequential(nn.Flatten(), nn.utils.spectral_norm(nn.Linear(16, 1)))
    stepper = detente.Stepper(game(discriminator=discriminator), methods.consensus(0.1))
    stepper.step()
    stepper.modules()


# ---- Bad input -----------------------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[Callable[[], object], str, str]] = {
    "another shape": (lambda: game(generator=MLP(5, 16, 4, 1)), "generator", r"\(batch, 1, 4, 4\)"),
    "latent of another length": (lambda: game(latent=6), "generator", r"input of shape \(8, 6\)"),
    "no tensor": (lambda: game(generator=nn.LSTM(5, 16)), "generator", "returns one tensor"),
    "two scores": (
        lambda: game(discriminator=nn.Sequential(nn.Flatten(), nn.Linear(16, 2))),
        "discriminator",
        "one score a sample",
    ),
    "one score a batch": (
        lambda: game(discriminator=nn.Sequential(nn.Flatten(0), nn.Linear(128, 1))),
        "discriminator",
        "one score a sample",
    ),
    "other samples": (lambda: game(discriminator=MLP(7, 1, 4, 1)), "discriminator", r"input of shape \(8, 1, 4, 4\)"),
    "batch larger than the set": (lambda: game(batch=25), "batch", "at most the 24 samples"),
    "batch of nothing": (lambda: game(batch=0), "batch", "≥ 1"),
    "no latent": (lambda: game(latent=0), "latent", "≥ 1"),
    "unknown objective": (lambda: game(objective="hinged"), "objective", "Did you mean 'hinge'"),
    "no module": (lambda: game(generator=3), "generator", "nn.Module"),
    "factory of no module": (lambda: game(generator=lambda: 3), "generator", "nn.Module"),
    "nothing to train": (lambda: game(generator=nn.Flatten()), "generator", "trainable parameter"),
    "class of torch's optimizer": (
        lambda: methods.alternating(torch.optim.AdamW),  # type: ignore[arg-type]
        "optimizer",
        r"Wrap it: optimizers.torch\(AdamW",
    ),
    "optimizers by player": (
        lambda: methods.alternating({"generator": methods.alternating().optimizer}),  # type: ignore[arg-type]
        "optimizer",
        "For each player its own: Method",
    ),
    "no state": (
        lambda: detente.Stepper(game(), methods.alternating()).load_state_dict({"weight": torch.zeros(3)}),
        "state_dict",
        "what Stepper.state_dict",
    ),
    "state of another generator": (
        lambda: (lambda s: s.load_state_dict({**s.state_dict(), "random": torch.zeros(3)}))(
            detente.Stepper(game(), methods.alternating())
        ),
        "state_dict.random",
        "torch.Generator",
    ),
    "unknown optimizer": (lambda: methods.alternating("adams"), "optimizer", "Did you mean 'adam'"),
    "rate of a built optimizer": (
        lambda: methods.alternating(methods.alternating().optimizer, 0.1),  # type: ignore[arg-type]
        "learning_rate",
        "has its own",
    ),
    "negative rate": (lambda: methods.alternating(learning_rate=-1.0), "learning_rate", "> 0"),
    "players of another game": (
        lambda: detente.Stepper(Bilinear(), methods.alternating(learning_rate={"a": 0.1, "b": 0.1})),
        "optimizer",
        "x, y",
    ),
    "batch of another shape": (
        lambda: detente.Stepper(game(), methods.alternating()).step(torch.zeros(8, 4, 4)),
        "batch",
        r"\(batch, \*\(1, 4, 4\)\)",
    ),
    "raw pixels": (
        lambda: detente.Stepper(game(), methods.alternating()).step(torch.zeros(8, 1, 4, 4, dtype=torch.uint8)),
        "batch",
        "floating-point",
    ),
    "empty batch": (
        lambda: detente.Stepper(game(), methods.alternating()).step(torch.zeros(0, 1, 4, 4)),
        "batch",
        "at least one",
    ),
    "dictionary without samples": (
        lambda: detente.Stepper(game(), methods.alternating()).step({"images": images(8)}),
        "batch",
        "'real'",
    ),
}


@pytest.mark.parametrize(("mistake", "field", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_invalid_arguments_are_refused(mistake: Callable[[], object], field: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message) as caught:
        mistake()
    assert caught.value.field == field
    assert "\n" not in str(caught.value)
