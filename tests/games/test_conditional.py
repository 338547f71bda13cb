"""The conditional game: labels of each module, requested labels, refusals, mapped and traced steps."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detente import methods
from detente.autodiff import jacobian, vector_field
from detente.data.arrays import Arrays
from detente.data.gaussian_mixture import Ring
from detente.errors import InvalidValue
from detente.fields.covariance import Covariance
from detente.filters.gaussian_blur import GaussianBlur
from detente.filters.gaussian_smoothing import GaussianSmoothing
from detente.games.adversarial import Adversarial
from detente.games.conditional import Conditional
from detente.methods.method import Method
from detente.networks.conditional import ConditionalDiscriminator, ConditionalGenerator
from detente.optimizers.sgd import SGD
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2
from detente.schemes.simultaneous import Simultaneous
from detente.state import State
from detente.training.step import Steps, draw
from detente.training.stepper import Stepper

CLASSES, LATENT, SIZE = 3, 2, 4


def labelled(count: int = 12) -> Arrays:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 1, SIZE, SIZE, generator=generator) * 2 - 1
    return Arrays(images, torch.arange(count) % CLASSES)


def networks() -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator = ConditionalGenerator(LATENT, CLASSES, 1, SIZE, 3, 3, 4)
        discriminator = ConditionalDiscriminator(CLASSES, 1, SIZE, 3, 2, 3)
    return generator.double(), discriminator.double()


def game(**settings: Any) -> Conditional:
    return Conditional(*networks(), **{"data": labelled(), "latent": LATENT, "batch": 4, **settings})


def start(play: Conditional, seed: int = 0) -> tuple[Any, Any, Any]:
    generator = torch.Generator().manual_seed(seed)
    vectors, buffers = play.initial(generator)
    return vectors, buffers, play.draw(generator)


def test_every_sample_is_scored_with_its_own_label() -> None:
    play = game()
    generator, discriminator = networks()
    vectors, buffers, batch = start(play)
    losses, _ = play.losses(vectors, buffers, batch)
    fake = generator(batch["latent"].double(), batch["fake_label"])
    real_scores = discriminator(batch["real"].double(), batch["label"])
    fake_scores = discriminator(fake, batch["fake_label"])
    softplus = nn.functional.softplus
    torch.testing.assert_close(losses["generator"], softplus(-fake_scores).mean())
    torch.testing.assert_close(losses["discriminator"], softplus(-real_scores).mean() + softplus(fake_scores).mean())


def test_labels_change_the_game() -> None:
    play = game()
    vectors, buffers, batch = start(play)
    before, _ = play.losses(vectors, buffers, batch)
    for name in ("label", "fake_label"):
        after, _ = play.losses(vectors, buffers, {**batch, name: (batch[name] + 1) % CLASSES})
        assert after["discriminator"] != before["discriminator"]
        assert bool(after["generator"] != before["generator"]) == (name == "fake_label")


@pytest.mark.parametrize("fixed", [False, True])
def test_requested_labels_are_uniform_and_depend_only_on_the_generator(fixed: bool) -> None:
    play = game(fixed_latents=fixed)
    before = torch.get_rng_state()
    first, again = (play.draw(torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([play.draw(generator)["fake_label"] for _ in range(1500)])
    counts = labels.bincount(minlength=CLASSES)
    assert len(counts) == CLASSES
    assert (counts / len(labels) - 1 / CLASSES).abs().max() < 0.03  # five standard deviations
    assert labels.dtype == torch.int64


def test_labels_without_samples_are_never_requested() -> None:
    images, labels = labelled().arrays
    assert labels is not None
    play = game(data=Arrays(images[labels != 1], labels[labels != 1]))
    generator = torch.Generator().manual_seed(0)
    requested = torch.cat([play.draw(generator)["fake_label"] for _ in range(300)])
    counts = requested.bincount(minlength=CLASSES)
    assert counts[1] == 0 and (counts[[0, 2]] / len(requested) - 0.5).abs().max() < 0.08  # five standard deviations
    vectors, buffers, _ = start(play)
    state, samples = State(torch.zeros((), dtype=torch.int64), vectors, buffers), torch.zeros(2, 1, SIZE, SIZE).double()
    scores = [play.scores(state, samples, torch.full((2,), label)) for label in (0, 2)]
    torch.testing.assert_close(play.scores(state, samples), torch.stack(scores).mean(0))


def test_real_samples_keep_their_labels() -> None:
    play = game()
    images, labels = play.data.arrays  # pyright: ignore[reportAttributeAccessIssue]
    batch = play.draw(torch.Generator().manual_seed(0))
    for image, label in zip(batch["real"], batch["label"], strict=True):
        (row,) = (images == image).flatten(1).all(1).nonzero()[0]
        assert labels[row] == label


def test_a_penalty_uses_the_labels_of_the_real_samples() -> None:
    _, discriminator = networks()
    for penalty in (GradientPenalty(1.0), R1(2.0), R2(2.0)):
        play, without = game(penalties=penalty), game()
        vectors, buffers, batch = start(play)
        added = play.losses(vectors, buffers, batch)[0]["discriminator"]
        added = added - without.losses(vectors, buffers, batch)[0]["discriminator"]
        generator, _ = networks()
        real, fake = batch["real"].double(), generator(batch["latent"].double(), batch["fake_label"])
        mixing = {"R1": 1.0, "R2": 0.0}.get(type(penalty).__name__)
        share = batch["penalty0.mixing"].double().reshape(-1, 1, 1, 1) if mixing is None else mixing
        at = (share * real + (1 - share) * fake).detach().requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(at, batch["label"]).sum(), at)
        squared = slope.flatten(1).square().sum(1)
        expected = (squared.sqrt() - 1).square().mean() if mixing is None else squared.mean()
        torch.testing.assert_close(added, expected)


def test_the_filter_is_between_samples_and_discriminator() -> None:
    play = game(filter=GaussianBlur(1.0))
    generator, discriminator = networks()
    vectors, buffers, batch = start(play)
    fake = generator(batch["latent"].double(), batch["fake_label"])
    scores = discriminator(GaussianBlur(1.0)(fake, {}, 1.0), batch["fake_label"])
    losses, _ = play.losses(vectors, buffers, batch)
    torch.testing.assert_close(losses["generator"], nn.functional.softplus(-scores).mean())


def test_the_field_is_exact_between_the_players() -> None:
    """Nothing is cut between players: the Jacobian agrees with finite differences of the field, in every block."""
    play = game(objective="wasserstein")
    vectors, buffers, batch = start(play)
    dense = jacobian(play, vectors, buffers, batch)
    sizes = [len(vectors[name]) for name in play.players]
    step, fields = 1e-6, []
    direction = torch.randn(sum(sizes), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for sign in (1, -1):
        moved = {
            name: vectors[name] + sign * step * part
            for name, part in zip(play.players, direction.split(sizes), strict=True)
        }
        field = vector_field(play, moved, buffers, batch).field
        fields.append(torch.cat([field[name] for name in play.players]))
    torch.testing.assert_close(dense @ direction, (fields[0] - fields[1]) / (2 * step), atol=1e-6, rtol=1e-5)
    assert dense[: sizes[0], sizes[0] :].abs().max() > 0 and dense[sizes[0] :, : sizes[0]].abs().max() > 0


def test_samples_can_be_generated_for_requested_labels() -> None:
    play = game()
    state = methods.simultaneous().initial(play, torch.Generator().manual_seed(0))
    latents, labels = torch.randn(600, LATENT), torch.arange(600) % CLASSES
    generator, discriminator = networks()
    with torch.no_grad():
        expected = generator(latents.double(), labels)
    torch.testing.assert_close(play.generate(state, latents, labels), expected)
    scores = play.scores(state, expected[:5], labels[:5])
    torch.testing.assert_close(scores, discriminator(expected[:5], labels[:5]).detach())
    scores_by_label = [discriminator(expected[:5], torch.full((5,), label)).detach() for label in range(CLASSES)]
    torch.testing.assert_close(play.scores(state, expected[:5]), torch.stack(scores_by_label).mean(0))
    first, again = (play.sample(state, 7, torch.Generator().manual_seed(4)) for _ in range(2))
    assert first.shape == (7, 1, SIZE, SIZE) and torch.equal(first, again)


def carried_out(play: Adversarial, method: Method, **how: bool) -> tuple[list[Any], list[Any]]:
    states, draws = [], []
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        state = method.prepare(play, method.initial(play, generator), generator)
        state.vectors.update({name: v + 0.1 * seed for name, v in state.vectors.items()})
        states.append(state)
        draws.append([draw(play, method, state, generator)])
    steps = Steps(play, method, **how)
    after, infos = steps(states, draws)
    assert not steps.fallback_reason, steps.fallback_reason
    return [state.flat() for state in after], [info.tree() for info in infos]


METHODS = {
    "alternating": methods.alternating,
    "consensus": partial(methods.consensus, 0.1),
    "covariance": lambda: Method(Covariance(("discriminator",)), Simultaneous(), SGD(0.05)),
}


@pytest.mark.parametrize("method", METHODS)
def test_mapped_and_traced_steps_equal_eager_ones(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "detente.training.inductor.compile_graph", lambda graph, example: graph
    )  # what is traced is taken as it is
    play = game(penalties=R1(0.1), filter=GaussianSmoothing(0.1))
    eager = carried_out(play, METHODS[method]())
    for how in ({"mapped": True}, {"compiled": True}):
        torch.testing.assert_close(carried_out(play, METHODS[method](), **how), eager, rtol=1e-9, atol=1e-9)


def test_a_step_changes_no_input() -> None:
    play, method = game(), methods.extragradient()
    generator = torch.Generator().manual_seed(0)
    state = method.initial(play, generator)
    drawn = draw(play, method, state, generator)
    before = {name: tensor.clone() for name, tensor in state.flat().items()}
    batches = [{name: tensor.clone() for name, tensor in batch.items()} for batch in drawn.batches]
    after, again = (method.step(play, state, drawn.batches, drawn.noise)[0].flat() for _ in range(2))
    torch.testing.assert_close(after, again, rtol=0, atol=0)
    torch.testing.assert_close([state.flat(), list(drawn.batches)], [before, batches], rtol=0, atol=0)


def test_the_users_own_batches_come_with_labels() -> None:
    stepper = Stepper(game(), methods.alternating())
    images, labels = torch.zeros(5, 1, SIZE, SIZE), torch.tensor([0, 1, 2, 0, 1])
    assert stepper.step((images, labels)).losses["generator"].isfinite()
    assert stepper.step({"real": images, "label": labels}).losses["generator"].isfinite()
    assert stepper.step().losses["generator"].isfinite()
    assert stepper.sample(3).shape == (3, 1, SIZE, SIZE)
    whole = game().complete({"real": images, "label": labels, "fake_label": labels}, torch.Generator())
    assert torch.equal(whole["fake_label"], labels)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.zeros(2, 1, SIZE, SIZE), "batch: got 'Tensor'; allowed: \\(samples, labels\\)"),
        ((torch.zeros(2, 1, SIZE, SIZE),), "batch: got 'tuple'"),
        ({"real": torch.zeros(2, 1, SIZE, SIZE)}, "batch: got \\['real'\\]; allowed: .*under 'label'"),
        ((torch.zeros(2, 1, SIZE, SIZE), torch.tensor([0])), "label: got '\\(1,\\) torch.int64'"),
        ((torch.zeros(2, 1, SIZE, SIZE), torch.tensor([0.0, 1.0])), "label: got '\\(2,\\) torch.float32'"),
        ((torch.zeros(2, 1, SIZE, SIZE), torch.tensor([0, 3])), "label: got \\(0, 3\\); allowed: from 0 to 2"),
        ((torch.zeros(2, 1, SIZE, SIZE), torch.tensor([-1, 0])), "label: got \\(-1, 0\\)"),
    ],
)
def test_batches_without_fitting_labels_are_refused(batch: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        game().complete(batch, torch.Generator())


@pytest.mark.parametrize("data", [Ring(), Arrays(torch.zeros(4, 1, SIZE, SIZE) - 0.5)], ids=["endless", "stored"])
def test_data_without_labels_are_refused(data: Any) -> None:
    with pytest.raises(InvalidValue, match="data: got .*; allowed: data with a label for each sample"):
        game(data=data)


def test_modules_that_take_no_label_are_refused() -> None:
    with pytest.raises(InvalidValue, match=r"generator: got 'Linear'; allowed: .* shape \(4, 2\), \(4,\)"):
        Conditional(nn.Linear(2, 16), networks()[1], labelled(), LATENT, batch=4)


def test_losses_over_the_whole_labelled_set_are_not_finite_sums() -> None:
    play = game(fixed_latents=True)
    parts = list(play.parts(5))
    assert [len(part["fake_label"]) for part in parts] == [5, 5, 2]
    for part, again in zip(parts, play.parts(5), strict=True):
        torch.testing.assert_close(part, again, rtol=0, atol=0)
    assert "label" in play.randomness
    with pytest.raises(InvalidValue, match="label of each generated sample"):
        methods.svrg().check(play)


def test_an_unconditional_game_gets_no_labels() -> None:
    plain: list[tuple[Tensor, ...]] = []

    class Listening(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 1)

        def forward(self, *inputs: Tensor) -> Tensor:
            plain.append(inputs)
            return self.layer(inputs[0].flatten(1))

    Adversarial(nn.Sequential(nn.Linear(2, 16), nn.Unflatten(1, (1, 4, 4))), Listening(), labelled(), 2, batch=4)
    assert {len(inputs) for inputs in plain} == {1}
