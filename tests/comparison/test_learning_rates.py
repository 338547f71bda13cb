"""Learning rates by player: two time-scales, in every method of the table that has one optimizer for all players."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import pytest
import torch

from detente import methods
from detente.cli.entry_point import main
from detente.comparison.learning_rates import rates, scale_rates
from detente.errors import InvalidValue
from detente.game import Game
from detente.games.presets.points import ring
from detente.methods.method import Method
from detente.optimizers.sgd import SGD
from detente.schedules import Linear
from detente.schemes.alternating import Alternating

RATES = {"generator": 1e-4, "discriminator": 4e-4}
ONE_RATE = {  # the rate stands in the field, or is one player's
    "adaptive_competitive",
    "ccadl",
    "competitive",
    "covariance_langevin",
    "follow_the_ridge",
    "random_proposal",
    "sgld",
    "sgnht",
    "svrg_discriminator",
    "unrolled",
}
BY_PLAYER = sorted(set(methods.names()) - ONE_RATE)


def small_ring() -> Game:
    return ring(width=4, depth=1, batch=8, points=64)


def optimizers_but_for_rates(method: Method) -> dict[str, str]:
    return {name: str(optimizer) for name, optimizer in method.optimizers(("generator", "discriminator")).items()}


@pytest.mark.parametrize("name", BY_PLAYER)
def test_each_player_has_the_optimizer_that_one_rate_for_all_would_give_it(name: str) -> None:
    make = methods.names()[name]
    expected = {player: optimizers_but_for_rates(make(learning_rate=rate))[player] for player, rate in RATES.items()}
    assert optimizers_but_for_rates(make(learning_rate=RATES)) == expected
    assert optimizers_but_for_rates(make(learning_rate=list(RATES.values()))) == expected


@pytest.mark.parametrize("name", sorted(ONE_RATE))
@pytest.mark.parametrize("rate", [RATES, [1e-4, 4e-4]])
def test_a_method_with_one_rate_refuses_two(name: str, rate: object) -> None:
    assert "learning_rate" in inspect.signature(methods.names()[name]).parameters
    with pytest.raises(InvalidValue, match="learning_rate: got .*; allowed: one rate"):
        methods.names()[name](learning_rate=rate)


def test_a_step_moves_each_player_at_its_own_rate() -> None:
    game = small_ring()
    start = methods.simultaneous("sgd", 1.0).initial(game, torch.Generator().manual_seed(0))
    batch = game.draw(torch.Generator().manual_seed(1))

    def moves(rate: float | Mapping[str, float]) -> dict[str, torch.Tensor]:
        after, _ = methods.simultaneous("sgd", rate).step(game, start, (batch,))
        return {name: vector - start.vectors[name] for name, vector in after.vectors.items()}

    once, scaled = moves(1.0), moves({"generator": 0.5, "discriminator": 2.0})
    torch.testing.assert_close(scaled["generator"], 0.5 * once["generator"], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(scaled["discriminator"], 2.0 * once["discriminator"], rtol=1e-3, atol=1e-6)


def test_a_player_may_have_a_schedule() -> None:
    method = methods.alternating(learning_rate=[1e-4, Linear(4e-4, 1e-5, 10)])
    assert rates(method) == pytest.approx([1e-4, 4e-4])


def test_the_rates_of_torchs_optimizers_and_of_any_schedule_are_read_and_multiplied() -> None:
    assert rates(methods.alternating("torch.optim.AdamW", [1e-4, 4e-4])) == pytest.approx([1e-4, 4e-4])
    torchs = {"class_path": "detente.optimizers.torch_optimizer.Torch", "init_args": {"kind": "AdamW", "lr": 1e-4}}
    warm = {"class_path": "detente.schedules.warmup.Warmup", "init_args": {"schedule": 1e-4, "steps": 9, "start": 0.5}}
    scaled = scale_rates({"class_path": "alternating", "init_args": {"optimizer": torchs}}, 2.0, 1.0)
    assert scaled["init_args"]["optimizer"]["init_args"] == {"kind": "AdamW", "lr": 2e-4}
    scaled = scale_rates({"class_path": "alternating", "init_args": {"learning_rate": warm}}, 2.0, 1.0)
    product = {"class_path": "detente.schedules.combined.Product", "init_args": {"first": warm, "second": 2.0}}
    assert scaled["init_args"]["learning_rate"] == product


@pytest.mark.parametrize(
    ("rate", "field"),
    [
        ("fast", "learning_rate"),
        (True, "learning_rate"),
        ([1e-4, "x"], "learning_rate[1]"),
        ({"generator": -1.0, "discriminator": 1.0}, "learning_rate.generator"),
        ({"generator": float("nan"), "discriminator": 1.0}, "learning_rate.generator"),
        ({}, "learning_rate"),
        ([], "learning_rate"),
    ],
)
def test_invalid_rates_are_refused_at_construction(rate: object, field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        methods.alternating(learning_rate=rate)  # pyright: ignore[reportArgumentType]
    assert caught.value.field == field


@pytest.mark.parametrize("rate", [{"g": 1.0, "d": 1.0}, {"generator": 1.0}, [1.0], [1.0, 1.0, 1.0]])
def test_rates_for_other_players_are_refused_when_the_method_meets_the_game(rate: object) -> None:
    with pytest.raises(InvalidValue, match="one optimizer for each of generator, discriminator"):
        methods.alternating(learning_rate=rate).check(small_ring())  # pyright: ignore[reportArgumentType]


def test_a_custom_method_takes_optimizers_in_the_order_of_the_players() -> None:
    method = Method(methods.alternating().field, Alternating(), [SGD(0.1), SGD(0.2)])
    assert method.optimizers(("x", "y")) == {"x": SGD(0.1), "y": SGD(0.2)}


def test_a_sweep_multiplies_the_rate_of_each_player() -> None:
    for learning_rate in (RATES, [1e-4, 4e-4]):
        after = scale_rates(
            {"class_path": "detente.methods.alternating", "init_args": {"learning_rate": learning_rate}}, 3.0, 1e-4
        )
        rate = after["init_args"]["learning_rate"]
        assert list(rate.values() if isinstance(rate, dict) else rate) == [3e-4, 1.2e-3]


@pytest.mark.parametrize("words", ["{generator: 1e-4, discriminator: 4e-4}", "[1e-4, 4e-4]"])
def test_the_shell_takes_rates_by_player_and_resumes_with_them(
    words: str, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    settings = ["--game.width", "4", "--game.depth", "1", "--game.batch", "8", "--samples", "16", "--compile", "off"]
    train = ["train", "--game", "ring", *settings, "--method.learning_rate", words, "--steps", "2", "--out", str(run)]
    assert main(train) == 0, capsys.readouterr().err
    assert "0.0004" in (run / "run.yaml").read_text(encoding="utf-8")
    assert main(["resume", str(run), "--steps", "4"]) == 0, capsys.readouterr().err
