"""Steps of `Networks` against the ordinary loop, written by hand with modules, autograd and torch.optim."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss, relu, softplus

from detente.fields.gradient import Gradient
from detente.games.networks import Networks
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.sgd import SGD
from detente.schemes.alternating import Alternating
from detente.schemes.simultaneous import Simultaneous
from detente.training.stepper import Stepper

STEPS, RATE, BETAS = 5, 0.01, (0.5, 0.99)
SCHEMES = {"simultaneous": Simultaneous(), "alternating": Alternating()}
OPTIMIZERS: dict[str, tuple[Any, Callable[[Iterable[Tensor]], torch.optim.Optimizer]]] = {
    "sgd": (SGD(RATE), lambda p: torch.optim.SGD(p, RATE)),
    "adam": (Adam(RATE, BETAS), lambda p: torch.optim.Adam(p, RATE, BETAS)),
}
EVERY = [(scheme, optimizer) for scheme in SCHEMES for optimizer in OPTIMIZERS]
Losses = Callable[..., dict[str, Any]]


def data(*shape: int) -> dict[str, Tensor]:
    return {"x": torch.randn(32, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)}


def total(loss: Any) -> Any:
    """Return a loss, which may be named terms and functions without arguments, as one number."""
    loss = loss() if callable(loss) and not isinstance(loss, Tensor) else loss
    return sum(total(term) for term in loss.values()) if isinstance(loss, dict) else loss


def loop(
    modules: dict[str, Any], losses: Losses, batches: list[dict[str, Tensor]], scheme: str, optimizer: str
) -> None:
    """Train modules in place: `batches` are those of all evaluations, one after the other."""
    parameters = {
        name: [p for p in player.parameters() if p.requires_grad] if isinstance(player, nn.Module) else [player]
        for name, player in modules.items()
    }
    optimizers = {name: OPTIMIZERS[optimizer][1](named) for name, named in parameters.items()}
    turns = [tuple(modules)] if scheme == "simultaneous" else [(name,) for name in reversed(modules)]
    net = SimpleNamespace(**modules)
    for index, batch in enumerate(batches):
        moving = turns[index % len(turns)]
        if "seed" in batch:
            torch.manual_seed(int(batch["seed"]))
        returned = losses(net, batch, batch["t"])
        gradients = {
            name: torch.autograd.grad(
                total(returned[name]), parameters[name], retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for name in moving
        }
        for name in moving:
            for parameter, gradient in zip(parameters[name], gradients[name], strict=True):
                parameter.grad = gradient
            optimizers[name].step()


def evaluations(game: Networks) -> list[dict[str, Tensor]]:
    """Return a list that gets the batch of each later evaluation of the game's losses."""
    batches: list[dict[str, Tensor]] = []
    original = game.losses

    def losses(vectors: Any, buffers: Any, batch: Any, players: Any = None) -> Any:
        batches.append({**batch, "t": batch["t"].clone()})
        return original(vectors, buffers, batch, players)

    game.losses = losses  # type: ignore[method-assign]
    return batches


def require_equal_to_loop(
    players: dict[str, Any], losses: Losses, data: Any, scheme: str, optimizer: str, **options: Any
) -> Stepper:
    """Train `players` as a game and by hand; every parameter and every buffer must be the same."""
    modules = {n: p.clone().requires_grad_() if isinstance(p, Tensor) else copy.deepcopy(p) for n, p in players.items()}
    game = Networks(players, losses, data, batch=8, **options)
    batches = evaluations(game)
    stepper = Stepper(game, Method(Gradient(), SCHEMES[scheme], OPTIMIZERS[optimizer][0]))
    for _ in range(STEPS):
        stepper.step()
    assert len(batches) == STEPS * (1 if scheme == "simultaneous" else len(players))
    loop(modules, losses, batches, scheme, optimizer)
    trained = stepper.modules()
    assert list(trained) == [*players]
    for name, player in modules.items():
        expected = {"": player} if isinstance(player, Tensor) else player.state_dict()
        actual = {"": trained[name]} if isinstance(player, Tensor) else trained[name].state_dict()
        assert list(actual) == list(expected)
        for key, tensor in expected.items():
            torch.testing.assert_close(actual[key], tensor.detach(), rtol=1e-10, atol=1e-12, msg=f"{name}.{key}")
    return stepper


class Codebook(nn.Module):
    """A quantizer whose code vectors are moving averages of its inputs, kept in buffers."""

    codes: Tensor
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codes", torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3))
        self.register_buffer("counts", torch.ones(4, dtype=torch.float64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        nearest = torch.cdist(x, self.codes).argmin(1)
        chosen = nn.functional.one_hot(nearest, 4).to(x.dtype)
        quantized = chosen @ self.codes
        if self.training:
            with torch.no_grad():
                self.counts.lerp_(chosen.sum(0), 0.2)
                self.codes = torch.where(
                    (chosen.sum(0) > 0)[:, None], self.codes.lerp(chosen.T @ x / 8, 0.2), self.codes
                )
        return x + (quantized - x).detach(), mse_loss(x, quantized)


class Autoencoder(nn.Module):
    """An autoencoder with a codebook, which returns tensors nested in a dictionary and a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
        self.quantizer, self.decoder = Codebook(), nn.Linear(3, 5)
        self.scale = nn.Parameter(torch.ones(()))
        self.double()

    def encode(self, x: Tensor, *, gain: float = 1.0) -> tuple[Tensor, Tensor]:
        return self.quantizer(gain * self.encoder(x))

    def forward(self, x: Tensor) -> dict[str, Any]:
        codes, commitment = self.encode(x)
        return {"reconstruction": self.scale * self.decoder(codes), "others": (codes, [commitment])}


def layers(kind: str, features: int, out: int) -> nn.Module:
    linear = nn.Linear(features, 6)
    middle: nn.Module = nn.Identity()
    if kind == "spectral norm":
        linear = nn.utils.parametrizations.spectral_norm(linear)
    elif kind == "spectral norm, as a hook":
        linear = nn.utils.spectral_norm(linear)
    elif kind == "weight norm":
        linear = nn.utils.parametrizations.weight_norm(linear)
    elif kind == "dropout":
        middle = nn.Dropout(0.4)
    elif kind == "batch norm":
        middle = nn.BatchNorm1d(6)
    elif kind == "cumulative batch norm":
        middle = nn.BatchNorm1d(6, momentum=None)
    elif kind == "layer norm":
        middle = nn.LayerNorm(6)
    return nn.Sequential(linear, middle, nn.LeakyReLU(0.2), nn.Linear(6, out)).double()


KINDS = (
    "plain, batch norm, cumulative batch norm, layer norm, dropout, spectral norm, spectral norm!as a hook, weight norm"
)


@pytest.mark.parametrize(("scheme", "optimizer"), EVERY)
@pytest.mark.parametrize("kind", [kind.replace("!", ", ") for kind in KINDS.split(", ")])
def test_every_kind_of_layer_trains_as_in_an_ordinary_loop(kind: str, scheme: str, optimizer: str) -> None:
    def losses(net: Any, batch: Any, t: Tensor) -> dict[str, Any]:
        x = batch["x"]
        y = net.first(x)
        fake, real = net.second(y), net.second(x)
        return {
            "first": {"near": mse_loss(y, x), "fool": lambda: softplus(-fake).mean()},
            "second": softplus(fake).mean() + softplus(-real).mean(),
        }

    players = {"first": layers(kind, 5, 5), "second": layers(kind, 5, 1)}
    require_equal_to_loop(players, losses, data(5), scheme, optimizer)


@pytest.mark.parametrize(("scheme", "optimizer"), EVERY)
def test_methods_submodules_containers_and_buffers_are_called_as_in_an_ordinary_loop(
    scheme: str, optimizer: str
) -> None:
    def losses(net: Any, batch: Any, t: Tensor) -> dict[str, Any]:
        x = batch["x"]
        again = net.autoencoder.decoder(net.autoencoder.encode(0.5 * x, gain=0.7)[0]) * net.autoencoder.scale
        output = net.autoencoder(x)
        reconstruction, (codes, [commitment]) = output["reconstruction"], output["others"]
        usage = (net.autoencoder.quantizer.counts * net.autoencoder.quantizer.codes.square().sum(1)).mean()
        fakes, reals = [judge(reconstruction) for judge in net.judges], [net.judges[i](x) for i in range(2)]
        size = net.judges[0].first.weight.square().mean()
        return {
            "autoencoder": {
                "l1": l1_loss(reconstruction, x),
                "again": (again - x).square().mean(),
                "commitment": (1 + 0.1 * t) * commitment + codes.mean() * usage,
                "adversarial": lambda: -sum(fake.mean() for fake in fakes),
            },
            "judges": {
                "hinge": sum(relu(1 + f).mean() + relu(1 - r).mean() for f, r in zip(fakes, reals, strict=True)),
                "size": size,
            },
        }

    def judge() -> nn.Module:
        named = nn.Sequential()
        named.add_module("first", nn.Linear(5, 4))
        named.add_module("last", nn.Linear(4, 1))
        return named.double()

    require_equal_to_loop(
        {"autoencoder": Autoencoder(), "judges": nn.ModuleList([judge(), judge()])}, losses, data(5), scheme, optimizer
    )


@pytest.mark.parametrize(("scheme", "optimizer"), EVERY)
def test_three_players_one_of_them_a_tensor(scheme: str, optimizer: str) -> None:
    """A constraint on a network, held by a Lagrange multiplier, beside a third player."""

    def losses(net: Any, batch: Any, t: Tensor) -> dict[str, Any]:
        x = batch["x"]
        y = net.model(x)
        constraint = (y.square().mean(0) - 0.1)[:2]
        return {
            "model": {"fit": mse_loss(y, x), "constraint": net.multipliers @ constraint + 0.1 * net.other(y).mean()},
            "multipliers": -(net.multipliers @ constraint),
            "other": lambda: (net.other(y) - x[:, :1]).square().mean(),
        }

    players = {
        "model": layers("plain", 5, 5),
        "multipliers": torch.tensor([0.5, 0.2], dtype=torch.float64),
        "other": layers("layer norm", 5, 1),
    }
    stepper = require_equal_to_loop(players, losses, data(5), scheme, optimizer)
    assert isinstance(stepper.modules()["multipliers"], Tensor)


class Recurrent(nn.Module):
    """An embedding, a recurrent layer and a layer whose weight is tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.recurrent = nn.Embedding(7, 4), nn.GRU(4, 4, batch_first=True)
        self.out = nn.Linear(4, 7)
        self.out.weight = self.embedding.weight
        self.double()

    def forward(self, tokens: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        outputs, state = self.recurrent(self.embedding(tokens), start)
        return self.out(outputs), state


@pytest.mark.parametrize(("scheme", "optimizer"), EVERY)
def test_recurrent_layers_integers_and_inputs_that_are_none(scheme: str, optimizer: str) -> None:
    tokens = torch.randint(7, (32, 6), generator=torch.Generator().manual_seed(3))

    def losses(net: Any, batch: Any, t: Tensor) -> dict[str, Any]:
        logits, state = net.writer(batch["tokens"][:, :-1], start=None)
        logits, _ = net.writer(logits.argmax(-1), state)
        probabilities = logits.softmax(-1)
        fake = net.reader(probabilities)
        real = net.reader(nn.functional.one_hot(batch["tokens"], 7).double())
        return {"writer": -fake.mean(), "reader": relu(1 + fake).mean() + relu(1 - real).mean()}

    players = {"writer": Recurrent(), "reader": nn.Sequential(nn.Linear(7, 1)).double()}
    require_equal_to_loop(players, losses, {"tokens": tokens}, scheme, optimizer)


@pytest.mark.parametrize(("scheme", "optimizer"), EVERY)
def test_a_frozen_helper_and_frozen_parameters_do_not_move(scheme: str, optimizer: str) -> None:
    helper = layers("batch norm", 5, 3)
    original = copy.deepcopy(helper.state_dict())
    partly = layers("plain", 5, 5)
    partly[0].requires_grad_(False)  # type: ignore[index]
    frozen = copy.deepcopy(helper).eval().requires_grad_(False)

    def losses(net: Any, batch: Any, t: Tensor) -> dict[str, Any]:
        x = batch["x"]
        features = net.features if hasattr(net, "features") else frozen
        y = net.first(x)
        return {
            "first": mse_loss(features(y), features(x)) - net.second(y).mean(),
            "second": net.second(y).square().mean(),
        }

    players = {"first": partly, "second": layers("plain", 5, 1)}
    require_equal_to_loop(players, losses, data(5), scheme, optimizer, frozen={"features": helper})
    assert all(torch.equal(helper.state_dict()[name], tensor) for name, tensor in original.items())
    assert helper.training
