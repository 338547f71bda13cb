"""Every game on two ranks equals the game in one process: objectives, penalties, filters, layers, custom losses."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from functools import partial
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from detente import Networks, balancing, methods
from detente.game import EvaluationSettings, Game
from detente.games import presets
from detente.games.adversarial import Adversarial
from detente.games.presets.points import ring
from detente.ranks import batch_mean
from detente.registry import members
from tests.ranks.job import Case, Result, assert_equal

EXAMPLES = Path(__file__).parents[2] / "examples"
SHARED = methods.names()
WITH_BATCH_NORM = ("simultaneous", "alternating", "alternating_shared_batch", "consensus", "symplectic_adjustment")
WITH_BATCH_NORM += ("unrolled", "extragradient", "accept_reject")
TOLERANCE = {"bfloat16": 0.05, "float32": 1e-5}
PLAIN = {"penalties": "r1", "filters": "gaussian_blur"}
WITH_DROPOUT = ("zero_one_digits",)  # each rank draws other numbers
OF_ROWS = "BatchNorm of rows"


def built(folder: str, name: str) -> Any:
    """Return a member with its defaults; one that wraps another member gets the first that does not."""
    table = members(folder)
    required = [key for key, value in signature(table[name]).parameters.items() if value.default is value.empty]
    return table[name](*[built(folder, PLAIN[folder]) for _ in required])


def points(**settings: Any) -> Game:
    return ring(**{"batch": 16, "width": 8, "depth": 2, **settings})


def generator(batch_norm: bool) -> nn.Module:
    norm = nn.BatchNorm2d(6) if batch_norm else nn.Identity()
    return nn.Sequential(nn.Unflatten(1, (8, 1, 1)), nn.ConvTranspose2d(8, 6, 4, bias=False), norm, nn.Tanh()).append(
        nn.Sequential(nn.ConvTranspose2d(6, 1, 4, 2, 1), nn.Tanh())
    )


def discriminator(batch_norm: bool) -> nn.Module:
    norm = nn.BatchNorm2d(8) if batch_norm else nn.Identity()
    return nn.Sequential(
        nn.Conv2d(1, 6, 4, 2, 1), nn.Softplus(), nn.Conv2d(6, 8, 3, 1, 1, bias=False), norm, nn.Softplus(), nn.Flatten()
    ).append(nn.Linear(128, 1))


def images(batch_norm: bool, **settings: Any) -> Game:
    data = (torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 255).to(torch.uint8)
    networks = partial(generator, batch_norm), partial(discriminator, batch_norm)
    return Adversarial(*networks, **{"data": data, "latent": 8, "batch": 8, **settings})


def own(losses: Callable[..., Any], **settings: Any) -> Game:
    players = {"generator": partial(generator, False), "discriminator": partial(discriminator, False)}
    return Networks(players, losses, data=drawn, **settings)


def drawn(generator: torch.Generator) -> dict[str, Tensor]:
    return {
        "real": torch.rand(8, 1, 8, 8, generator=generator),
        "latent": torch.randn(8, 8, generator=generator),
    }


def relativistic_average(net: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Jolicoeur-Martineau 2018, RaSGAN: scores are compared with the mean score of the other side."""
    real, fake = net.discriminator(batch["real"]), net.discriminator(net.generator(batch["latent"]))
    above, below = real - batch_mean(fake), fake - batch_mean(real)
    return {
        "generator": (softplus(-below) + softplus(above)).mean(),
        "discriminator": (softplus(-above) + softplus(below)).mean(),
    }


def of_a_mean(net: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    real, fake = net.discriminator(batch["real"]), net.discriminator(net.generator(batch["latent"]))
    apart = batch_mean(real) - batch_mean(fake)
    return {"generator": apart.square(), "discriminator": -apart + 0.1 * (real.square() + fake.square()).mean()}


def balanced(at_weight: bool) -> Callable[..., Any]:
    """An adaptive weight of two terms, as in VQGAN, at the output or at a parameter."""

    def losses(net: Any, batch: dict[str, Tensor]) -> dict[str, Any]:
        made = net.generator(batch["latent"])
        reconstruction, adversarial = (made - batch["real"]).square().mean(), -net.discriminator(made).mean()
        at = net.parameters("generator")["1.weight"] if at_weight else made
        weight = balancing.adaptive_weight(reconstruction, adversarial, at)
        real = net.discriminator(batch["real"])
        return {
            "generator": reconstruction + weight * adversarial,
            "discriminator": softplus(-real).mean() + softplus(net.discriminator(made)).mean(),
        }

    return losses


def balancer(per_sample: bool) -> Callable[..., Any]:
    shares = balancing.Balancer({"near": 1.0, "adversarial": 2.0}, per_sample=per_sample, decay=0.5)

    def losses(net: Any, batch: dict[str, Tensor]) -> dict[str, Any]:
        made = net.generator(batch["latent"])
        terms = {"near": (made - batch["real"]).square().mean(), "adversarial": -net.discriminator(made).mean()}
        scaled, net.memory["norms"] = shares(terms, made, net.memory["norms"])
        real = net.discriminator(batch["real"])
        return {
            "generator": sum(scaled.values()),
            "discriminator": softplus(-real).mean() + softplus(net.discriminator(made)).mean(),
        }

    return losses


def preset(name: str) -> Game:
    small = {"batch": 4, "width": 4, "latent": 4, "blocks": 1}
    build = presets.names()[name]
    return build(**{key: value for key, value in small.items() if key in signature(build).parameters})


def example(name: str) -> Game:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["game"]()


def examples() -> list[str]:
    return [path.stem for path in sorted(EXAMPLES.glob("*.py")) if "\ndef game(" in path.read_text(encoding="utf-8")]


def cases() -> dict[str, Case]:
    found = {f"objective {name}": Case(partial(points, objective=name)) for name in members("objectives")}
    for name, method in product(members("penalties"), ("alternating", "consensus")):
        penalties = (built("penalties", name),)
        found[f"penalty {name}, {method}"] = Case(partial(points, penalties=penalties), SHARED[method])
    for name in members("filters"):  # adaptive augmentation moves after 4 evaluations
        found[f"filter {name}"] = Case(partial(images, False, filter=built("filters", name)), steps=5)
    found |= {
        f"convolutions, {name}": Case(partial(images, False), SHARED[name]) for name in ("alternating", "consensus")
    }
    found |= {f"BatchNorm, {name}": Case(partial(images, True), SHARED[name]) for name in WITH_BATCH_NORM}
    found["BatchNorm, sgan"] = Case(partial(images, True), partial(SHARED["sgan"], pairs=4))
    for name, method in product(("r1", "gradient_penalty"), ("alternating", "consensus")):
        game = partial(images, True, penalties=(built("penalties", name),))
        found[f"BatchNorm under {name}, {method}"] = Case(game, SHARED[method])
    whole_set = partial(images, True, fixed_latents=True, batch=16)  # the last batch has 8 images
    found["BatchNorm, full batch"] = Case(whole_set, SHARED["full_batch"])
    found[OF_ROWS] = Case(partial(images, True), batch_norm="rows")
    for parts, batch_norm, method in ((4, False, "consensus"), (2, True, "alternating"), (2, True, "consensus")):
        settings = EvaluationSettings(accumulate=parts)
        name = f"{parts} parts{' with BatchNorm' * batch_norm}, {method}"
        found[name] = Case(partial(images, batch_norm, batch=16), SHARED[method], settings=settings)
    for game in (relativistic_average, of_a_mean):
        for method in ("alternating", "consensus"):  # by SGD: Adam would amplify the rounding of a gradient of zero
            by_sgd = partial(SHARED[method], optimizer="sgd", learning_rate=0.01)
            found[f"{game.__name__}, {method}"] = Case(partial(own, game), by_sgd)
    for at_weight in (False, True):
        found[f"adaptive weight {at_weight}"] = Case(partial(own, balanced(at_weight)))
    for per_sample in (False, True):
        game = partial(own, balancer(per_sample), memory={"norms": torch.zeros(2, 2)})
        found[f"balancer {per_sample}"] = Case(game)
    names = [name for name in presets.names() if name not in ("changed", *WITH_DROPOUT)]
    found |= {f"preset {name}": Case(partial(preset, name), steps=2) for name in names}
    found |= {f"example {name}": Case(partial(example, name), steps=2) for name in examples()}
    for name, seeds in (("ring", (3, 4)), ("convolutions", (3, 4)), ("BatchNorm", (3, 4))):
        game = points if name == "ring" else partial(images, name == "BatchNorm")
        found |= {f"{name}, mapped, {m}": Case(game, SHARED[m], seeds=seeds) for m in ("alternating", "consensus")}
    for precision, name in product(("float32", "bfloat16"), ("alternating", "consensus")):
        method, settings = partial(SHARED[name], optimizer="sgd", learning_rate=1e-3), EvaluationSettings(precision)
        found[f"{precision}, {name}"] = Case(partial(images, True), method, dtype=torch.float32, settings=settings)
    return found


@pytest.mark.parametrize("name", [name for name in cases() if name != OF_ROWS])
def test_two_ranks_equal_one_process(name: str, results: dict[str, Result]) -> None:
    assert_equal(results[name], TOLERANCE.get(name.partition(",")[0], 1e-11))


def test_ranks_that_normalize_their_own_rows_still_agree(results: dict[str, Result]) -> None:
    result = results[OF_ROWS]
    assert result["same"] and result["distance"] > 1e-3
