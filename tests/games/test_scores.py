"""Discriminator outputs: logits, probabilities, one per sample or per several; latents of any shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import detente
import detente.data.arrays
from detente import methods
from detente.errors import InvalidValue
from detente.games.adversarial import Adversarial
from detente.games.conditional import Conditional
from detente.games.scores import logits_of
from detente.networks.mlp import MLP
from detente.registry import members

SAMPLES = torch.randn(24, 2, generator=torch.Generator().manual_seed(0))


def seeded_net(*layers: Callable[[], nn.Module]) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(*[layer() for layer in layers])


def discriminator(*last: nn.Module) -> nn.Sequential:
    return nn.Sequential(*seeded_net(lambda: nn.Linear(2, 8), nn.Tanh, lambda: nn.Linear(8, 1)), *last)


def game(net: nn.Module, **settings) -> Adversarial:
    return Adversarial(seeded_net(lambda: nn.Linear(3, 2)), net, SAMPLES, **{"latent": 3, "batch": 8, **settings})


class ByHand(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1 / (1 + torch.exp(-x.clamp(-30, 30)))


ENDS = {
    "Sigmoid": [nn.Sigmoid()],
    "Sigmoid, flattened": [nn.Sigmoid(), nn.Flatten(0)],
    "Hardsigmoid": [nn.Hardsigmoid()],
    "written by hand": [ByHand()],
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("objective", ["non_saturating", "minimax", "relativistic"])
def test_a_final_sigmoid_gives_a_warning(end: str, objective: str) -> None:
    with pytest.raises(InvalidValue, match='probabilities in .*scores="probabilities"'):
        game(discriminator(*ENDS[end]), objective=objective)


@pytest.mark.parametrize("objective", ["wasserstein", "hinge", "least_squares"])
def test_bounded_scores_give_a_warning_for_other_objectives(objective: str) -> None:
    with pytest.warns(UserWarning, match="outputs are probabilities"):
        game(discriminator(nn.Sigmoid()), objective=objective)


ORDINARY = {
    "linear": [],
    "softplus": [nn.Softplus()],
    "relu": [nn.ReLU()],
    "tanh": [nn.Tanh()],
    "layer norm before": [nn.Flatten()],
}


@pytest.mark.parametrize("end", ORDINARY)
def test_other_last_layers_give_no_warning(end: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        game(discriminator(*ORDINARY[end]))
        game(nn.Sequential(nn.Linear(2, 8), nn.Sigmoid(), nn.Linear(8, 1)))
        zero = discriminator()
        nn.init.zeros_(zero[-1].weight)  # pyright: ignore[reportArgumentType]
        game(zero)


@pytest.mark.parametrize("objective", sorted(members("objectives")))
def test_probabilities_and_logits_give_equal_losses(objective: str) -> None:
    logits = game(discriminator(), objective=objective)
    probabilities = game(discriminator(nn.Sigmoid()), objective=objective, scores="probabilities")
    generator = torch.Generator().manual_seed(3)
    batch = logits.draw(generator)
    vectors, buffers = logits.initial(generator)
    for name, loss in logits.losses(vectors, buffers, batch)[0].items():
        other = probabilities.losses(vectors, buffers, batch)[0][name]
        assert torch.allclose(loss, other, rtol=1e-5), name
    steppers = [detente.Stepper(variant, methods.consensus(), seed=0) for variant in (logits, probabilities)]
    for _ in range(3):
        first, second = (stepper.step() for stepper in steppers)
    for name in first.gradient_norm:
        assert torch.allclose(first.gradient_norm[name], second.gradient_norm[name], rtol=1e-3)


def test_logits_are_finite_and_flat_where_probabilities_are_saturated() -> None:
    p = torch.tensor([0.0, 1e-30, 0.5, 0.9, 1.0], requires_grad=True)
    logits = logits_of(p)
    assert logits.isfinite().all() and float(logits[2].detach()) == 0
    assert float(logits[3].detach()) == pytest.approx(float(torch.logit(torch.tensor(0.9))), rel=1e-6)
    (slope,) = torch.autograd.grad(logits.sum(), p)
    assert slope[[0, 1, 4]].tolist() == [0, 0, 0]
    assert slope[2:4].tolist() == pytest.approx([4, 1 / 0.09], rel=1e-5)


def test_invalid_probabilities_are_refused() -> None:
    with pytest.raises(InvalidValue, match="outputs from .*probabilities in"):
        game(discriminator(), scores="probabilities")
    with pytest.raises(InvalidValue, match="scores.*'logits' or 'probabilities'"):
        game(discriminator(), scores="odds")


def test_the_dcgan_of_the_pytorch_tutorial_runs_unchanged() -> None:
    generator = nn.Sequential(nn.ConvTranspose2d(10, 4, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.Tanh())
    judge = nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 2), nn.Sigmoid())
    images = torch.rand(20, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    dcgan = Adversarial(generator, judge, images, latent=(10, 1, 1), batch=4, scores="probabilities")
    stepper = detente.Stepper(dcgan, methods.alternating())
    stepper.step(images[:4])
    assert stepper.sample(3).shape == (3, 3, 4, 4)
    assert dcgan.scores(stepper.state, images[:5]).shape == (5,)


@pytest.mark.parametrize("fixed", [False, True])
def test_latents_of_any_shape(fixed: bool) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    shaped = Adversarial(net, discriminator(), SAMPLES, latent=(3, 2, 1), batch=4, fixed_latents=fixed)
    batch = shaped.draw(torch.Generator().manual_seed(0))
    assert batch["latent"].shape == (4, 3, 2, 1)
    method = methods.svrg() if fixed else methods.sgan(pairs=2)
    stepper = detente.Stepper(shaped, method)
    assert stepper.step().losses["generator"].isfinite() and stepper.sample(2).shape == (2, 2)
    with pytest.raises(InvalidValue, match="latent"):
        Adversarial(net, discriminator(), SAMPLES, latent=(3, 0), batch=4)


class Packed(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(-1, 4))


def test_a_score_may_stand_for_several_samples() -> None:
    packed = game(Packed(4, 1))
    stepper = detente.Stepper(packed, methods.alternating())
    assert stepper.step().losses["discriminator"].isfinite()
    scores = packed.scores(stepper.state, SAMPLES[:6])
    assert scores.shape == (6,) and torch.equal(scores[0::2], scores[1::2])
    with pytest.raises(InvalidValue, match="one score a sample"):
        game(nn.Linear(2, 3))


def test_modules_may_require_the_batch_size_of_the_game() -> None:
    class Groups(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            spread = x.view(4, -1, 2).std(0).mean(1).repeat(4)[:, None]
            return self.net(torch.cat([x, spread], 1))

    assert detente.Stepper(game(Groups()), methods.alternating()).step().losses["generator"].isfinite()


def test_numpy_batches_equal_torch_batches() -> None:
    forms = [SAMPLES[:8], SAMPLES[:8].numpy(), [SAMPLES[:8].numpy()], {"real": SAMPLES[:8].numpy()}]
    infos = [detente.Stepper(game(discriminator()), methods.alternating()).step(batch) for batch in forms]
    assert len({float(info.gradient_norm["generator"]) for info in infos}) == 1
    stepper = detente.Stepper(game(discriminator()), methods.alternating())
    for wrong, message in (("words", "str"), ([[1.0, 2.0]], "list"), (SAMPLES[:8].long(), "floating"), ({"x": 1}, "x")):
        with pytest.raises(InvalidValue, match=message):
            stepper.step(wrong)


def test_labelled_batches_of_numpy() -> None:
    class WithLabel(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.net, self.words = MLP(inputs, outputs, 4, 1), nn.Embedding(3, inputs)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.net(x + self.words(y))

    labels = np.arange(24) % 3
    conditional = Conditional(WithLabel(3, 2), WithLabel(2, 1), detente.data.arrays.Arrays(SAMPLES, labels), 3, batch=8)
    stepper = detente.Stepper(conditional, methods.alternating())
    assert stepper.step((SAMPLES[:8].numpy(), labels[:8])).losses["generator"].isfinite()
    with pytest.raises(InvalidValue, match="labels"):
        stepper.step(SAMPLES[:8].numpy())


def test_real_samples_do_not_affect_buffers_in_the_generators_turn() -> None:
    judge = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    zero_sum = game(judge, objective="minimax")
    generator = torch.Generator().manual_seed(0)
    vectors, buffers = zero_sum.initial(generator)
    batch = zero_sum.draw(generator)
    other = {**batch, "real": batch["real"] + 5}
    after = [
        zero_sum.losses(vectors, buffers, samples, ("generator",))[1]["discriminator"] for samples in (batch, other)
    ]
    assert all(torch.equal(after[0][name], after[1][name]) for name in after[0])
    assert int(after[0]["1.num_batches_tracked"]) == 1
    losses, both = zero_sum.losses(vectors, buffers, batch)
    assert int(both["discriminator"]["1.num_batches_tracked"]) == 2
    assert float(losses["generator"] + losses["discriminator"]) == 0
