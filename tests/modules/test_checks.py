"""Checks of modules when a game is built: each trains as in an ordinary loop, or is refused by name."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false, reportPrivateImportUsage=false, reportReturnType=false, reportUnusedExpression=false

from __future__ import annotations

import random
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

from detente import methods
from detente.data.arrays import Arrays
from detente.errors import InvalidValue
from detente.games.adversarial import Adversarial
from detente.games.conditional import Conditional
from detente.modules.calling import copied
from detente.training.stepper import Stepper

DATA = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))


class Of(nn.Module):
    """A discriminator of two layers and a norm, whose forward is a function of itself and its input."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **attributes: Any) -> None:
        super().__init__()
        self.a, self.b, self.norm, self.function = nn.Linear(2, 8), nn.Linear(8, 1), nn.BatchNorm1d(8), forward
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)

    def hidden(self, x: Tensor) -> Tensor:
        return torch.tanh(self.norm(self.a(x)))


def plain(module: Any, x: Tensor) -> Tensor:
    return module.b(module.hidden(x))


def game(discriminator: Any, generator: Any = None, **settings: Any) -> Adversarial:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Adversarial(generator or nn.Linear(2, 2), discriminator, DATA, 2, batch=8, **settings)


def trained(discriminator: Any, steps: int = 3, **settings: Any) -> Stepper:
    stepper = Stepper(game(discriminator, **settings), methods.alternating(learning_rate=1e-2))
    for _ in range(steps):
        stepper.step()
    return stepper


def of(forward: Callable[[Any, Tensor], Tensor], **attributes: Any) -> Of:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Of(forward, **attributes)


def through_lambda() -> Of:
    net = of(lambda s, x: s.b(s.block(x)))
    net.block = lambda x: torch.tanh(net.norm(net.a(x)))
    return net


def through_default_argument() -> Of:
    net = of(lambda s, x: s.b(s.block(x)))
    net.block = lambda x, network=net: torch.tanh(network.norm(network.a(x)))
    return net


def through_dictionary_of_lambdas() -> Of:
    net = of(lambda s, x: s.b(s.blocks["first"][0](x)))
    net.blocks = {"first": (lambda x: torch.tanh(net.norm(net.a(x))),)}
    return net


def through_partial() -> Of:
    net = of(lambda s, x: s.b(s.block(x)))
    net.block = partial(Of.hidden, net)
    return net


def through_bound_method() -> Of:
    net = of(lambda s, x: s.b(s.block(x)))
    net.block = net.hidden
    return net


def through_hook() -> Of:
    net = of(lambda s, x: s.b(s.a(x)))
    net.a.register_forward_hook(lambda module, inputs, output: torch.tanh(net.norm(output)))
    return net


def through_wrapped_forward() -> Of:
    net = of(plain)
    inner = net.forward
    net.forward = lambda x: inner(x)
    return net


def through_list() -> Of:
    net = of(lambda s, x: s.b(torch.tanh(s.norm(x @ s.tensors[0].T + s.tensors[1]))))
    net.tensors = [net.a.weight, net.a.bias]
    return net


def through_tuple_in_dictionary() -> Of:
    net = of(lambda s, x: s.b(torch.tanh(s.norm(x @ s.tensors["a"][0].T + s.tensors["a"][1]))))
    net.tensors = {"a": (net.a.weight, net.a.bias)}
    return net


def through_variable() -> Of:
    net = of(lambda s, x: s.b(torch.tanh(s.norm(s.layer(x)))))
    weight, bias = net.a.weight, net.a.bias
    net.layer = lambda x: x @ weight.T + bias
    return net


SAME = [
    through_lambda,
    through_default_argument,
    through_dictionary_of_lambdas,
    through_partial,
    through_bound_method,
    through_hook,
    through_wrapped_forward,
    through_list,
    through_tuple_in_dictionary,
    through_variable,
]


@pytest.mark.parametrize("make", SAME, ids=lambda make: make.__name__)
def test_layers_reached_indirectly_train_like_layers_called_directly(make: Callable[[], Of]) -> None:
    """The same network with the layers called directly is the oracle; the user's own module stays as it was."""
    net = make()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    stepper, expected = trained(net), trained(of(plain))
    torch.testing.assert_close(stepper.state.vectors, expected.state.vectors, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(stepper.state.buffers, expected.state.buffers, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(dict(net.state_dict()), before, rtol=0, atol=0)
    trained_state = stepper.modules()[1].state_dict()
    torch.testing.assert_close(dict(trained_state), dict(expected.modules()[1].state_dict()), rtol=1e-5, atol=1e-6)


class Calls:
    """A callable object that draws random numbers."""

    def __call__(self, x: Tensor) -> Tensor:
        return x * (1 + random.random() / 9)


def rarely(s: Any, x: Tensor) -> Tensor:
    return plain(s, -x if random.random() < 0.01 else x)


def rarely_imported(s: Any, x: Tensor) -> Tensor:
    from random import choice

    return plain(s, x if choice(range(100)) else -x)


def rarely_numpy(s: Any, x: Tensor) -> Tensor:
    return plain(s, -x if numpy.random.rand() < 0.01 else x)


def deeper(s: Any, x: Tensor) -> Tensor:
    return rarely(s, x)


OWN = numpy.random.default_rng(0)
RANDOM = {
    "python": lambda: of(rarely),
    "imported within": lambda: of(rarely_imported),
    "numpy": lambda: of(rarely_numpy),
    "by another function": lambda: of(deeper),
    "numpy's generator": lambda: of(
        lambda s, x: plain(s, x * (1 + s.rng.random() / 9)), rng=numpy.random.default_rng(0)
    ),
    "a global generator": lambda: of(lambda s, x: plain(s, x * (1 + OWN.random() / 9))),
    "python's generator": lambda: of(lambda s, x: plain(s, x * (1 + s.rng.random() / 9)), rng=random.Random(0)),
    "torch's generator": lambda: of(
        lambda s, x: plain(s, x + torch.randn(x.shape, generator=s.rng)), rng=torch.Generator().manual_seed(0)
    ),
    "a callable object": lambda: of(lambda s, x: plain(s, s.noise(x)), noise=Calls()),
    "rarely, torch": lambda: of(lambda s, x: plain(s, x + torch.randn_like(x) if torch.rand(()) < 0.01 else x)),
}


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM.keys())
def test_random_numbers_of_any_source_come_from_the_batch(make: Callable[[], Of]) -> None:
    adversarial = game(make())
    assert adversarial.stochastic and not adversarial.traceable
    before = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state()
    vectors, buffers = adversarial.initial(torch.Generator().manual_seed(0))
    batch = adversarial.draw(torch.Generator().manual_seed(0))
    first = adversarial.losses(vectors, buffers, batch)[0]
    after = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state()
    assert before[:2] == after[:2] and torch.equal(before[2], after[2]), "the user's own numbers are left alone"
    random.random(), numpy.random.rand(), torch.rand(2)
    torch.testing.assert_close(adversarial.losses(vectors, buffers, batch)[0], first, rtol=0, atol=0)


def test_modules_without_random_numbers_are_not_taken_for_random() -> None:
    assert game(of(plain)).traceable


class Counted(Of):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.function(self, x)


def counting(forward: Callable[[Any, Tensor], Tensor]) -> Counted:
    return Counted(forward)


def caching(s: Any, x: Tensor) -> Tensor:
    if not hasattr(s, "cached"):
        s.cached = s.a.weight * 1
    return s.b(x @ s.cached.T)


def averaging(s: Any, x: Tensor) -> Tensor:
    s.mean = 0.9 * s.mean + 0.1 * x.detach().mean(0)
    return plain(s, x - s.mean)


def initialising(s: Any, x: Tensor) -> Tensor:
    if not s.initialised:
        s.a.bias.data = -s.a(x).detach().mean(0)
        s.initialised = True
    return plain(s, x)


def clipping(s: Any, x: Tensor) -> Tensor:
    s.a.weight.data.clamp_(-0.1, 0.1)
    return plain(s, x)


def first_value(s: Any, x: Tensor) -> Tensor:
    if s.start is None:
        s.start = x.detach().mean(0)
    return plain(s, x - s.start)


def without_first_value() -> Of:
    net = of(first_value)
    net.register_buffer("start", None)
    return net


def growing(s: Any, x: Tensor) -> Tensor:
    s.past = torch.cat([s.past, x.detach().mean(0, keepdim=True)])[-100:]
    return plain(s, x - s.past.mean(0))


def with_growing_buffer() -> Of:
    net = of(growing)
    net.register_buffer("past", torch.zeros(1, 2))
    return net


def copied_to_numpy() -> Of:
    net = of(lambda s, x: plain(s, x) + float(s.table.sum()))
    net.table = net.a.weight.detach().numpy()
    return net


def viewed() -> Of:
    net = of(lambda s, x: s.b(x @ s.turned))
    net.turned = net.a.weight.t()
    return net


def by_weak_reference() -> Of:
    net = of(lambda s, x: s.b(torch.tanh(s.norm(s.back().a(x)))))
    net.back = weakref.ref(net)
    return net


@torch.no_grad()
def without_gradient(s: Any, x: Tensor) -> Tensor:
    return plain(s, x)


REFUSED = {
    "a counter": (lambda: counting(lambda s, x: plain(s, x) * s.calls), "calls"),
    "a late counter": (lambda: counting(lambda s, x: plain(s, x) * (2 if s.calls > 5000 else 1)), "counter calls"),
    "a counter's remainder": (lambda: counting(lambda s, x: plain(s, x) * (2 if s.calls % 7 == 6 else 1)), "calls"),
    "a cached parameter": (lambda: of(caching), "cached|a.weight"),
    "an average in an attribute": (lambda: of(averaging, mean=torch.zeros(2)), "mean"),
    "initialised from data": (lambda: of(initialising, initialised=False), "writes the parameter a.bias"),
    "clipped in forward": (lambda: of(clipping), "writes the parameter a.weight"),
    "a buffer without value": (without_first_value, "buffer start"),
    "a buffer that grows": (with_growing_buffer, "buffer past"),
    "torch's view": (viewed, "a.weight"),
    "a weak reference": (by_weak_reference, "of the original module"),
    "no_grad": (lambda: of(without_gradient), "does not require grad"),
    "detach": (lambda: of(lambda s, x: plain(s, x).detach()), "does not require grad"),
    "NumPy": (
        lambda: of(lambda s, x: torch.from_numpy(plain(s, x).detach().numpy() * 1)),
        "does not require grad",
    ),
    "writing into the input": (lambda: of(lambda s, x: plain(s, x.mul_(2))), "writes into its input"),
    "numbers without a seed": (lambda: of(lambda s, x: plain(s, x) * random.SystemRandom().random()), "random numbers"),
    "max_norm": (
        lambda: of(lambda s, x: plain(s, x) + s.e((x[:, 0] > 0).long()), e=nn.Embedding(2, 1, max_norm=1.0)),
        "e.max_norm",
    ),
    "complex": (lambda: nn.Linear(2, 1, dtype=torch.complex64), "floating dtype"),
}


@pytest.mark.parametrize(("make", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_trained_faithfully_is_refused_by_name(make: Callable[[], nn.Module], named: str) -> None:
    net = make()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(InvalidValue, match=rf"discriminator: .*({named})") as caught:
        game(net)
    assert "checkpointing" not in str(caught.value) and "\n" not in str(caught.value)
    torch.testing.assert_close(dict(net.state_dict()), before, rtol=0, atol=0)


GLOBAL = of(lambda s, x: s.b(torch.tanh(GLOBAL.norm(GLOBAL.a(x)))))


def test_a_module_reached_as_a_global_variable_is_refused_and_left_as_it_was() -> None:
    before = {name: tensor.clone() for name, tensor in GLOBAL.state_dict().items()}
    with pytest.raises(InvalidValue, match="of the original module"):
        game(GLOBAL)
    torch.testing.assert_close(dict(GLOBAL.state_dict()), before, rtol=0, atol=0)


def keeping(s: Any, x: Tensor) -> Tensor:
    s.features = [torch.relu(s.a(x))]
    s.by_name = {"hidden": (s.features[0] * 2,)}
    s.mask = torch.ones(8) if s.mask is None else s.mask
    return s.b(s.features[0] * s.mask)


def unused(s: Any, x: Tensor) -> Tensor:
    return s.b(s.a(x)) * 0 + s.b.bias


ALLOWED = {
    "features kept": lambda: of(keeping, mask=None),
    "a counter that nobody reads": lambda: counting(plain),
    "unused and zero": lambda: of(unused),
    "bfloat16": lambda: of(plain).bfloat16(),
    "sparse": lambda: of(lambda s, x: plain(s, x) + s.e((x[:, 0] > 0).long()), e=nn.Embedding(2, 1, sparse=True)),
    "lazy": lambda: nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(1)),
    "recurrent": lambda: of(lambda s, x: s.b(s.rnn(x[..., None])[0][:, -1]), rnn=nn.LSTM(1, 8, batch_first=True)),
}


# Compiling one takes seconds; what compiling does to a module is the trace, which the others show too.
@pytest.mark.parametrize(
    ("name", "way"), [*((name, way) for name in ALLOWED for way in ("eager", "traced")), ("bfloat16", "compiled")]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler warns of torch's own scripts
@pytest.mark.filterwarnings("ignore:steps run eagerly")  # what cannot be compiled says so, and trains all the same
@pytest.mark.filterwarnings("ignore:vanishing gradient")  # of the one with zeros
def test_modules_that_train_in_an_ordinary_loop_train_and_are_returned(
    name: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "traced":
        monkeypatch.setattr("detente.training.inductor.compile_graph", lambda graph, example: graph)
    adversarial = game(ALLOWED[name]())
    compiled = way != "eager" and adversarial.traceable
    stepper = Stepper(adversarial, methods.alternating(learning_rate=1e-2), compiled=compiled)
    before = stepper.state.vectors["discriminator"]
    for _ in range(2):
        stepper.step()
    assert not torch.equal(stepper.state.vectors["discriminator"], before)
    scores = stepper.modules()[1](DATA.to(before.dtype)).reshape(-1)
    state = methods.alternating().scheme.eval_state(stepper.state)
    torch.testing.assert_close(adversarial.scores(state, DATA.to(before.dtype)), scores.detach())


def test_shared_parameters_are_refused_by_their_names() -> None:
    layer = nn.Linear(2, 2)
    for held in (nn.Sequential(layer, nn.Linear(2, 1)), of(plain, outside=[layer])):
        with pytest.raises(InvalidValue, match="share the parameter 0.weight .*which player trains it"):
            game(held, nn.Sequential(layer, nn.Tanh()))
    layer.requires_grad_(False)  # a frozen layer stays the same in both
    game(nn.Sequential(layer, nn.Linear(2, 1)), nn.Sequential(layer, nn.Linear(2, 2)))


class Normed(nn.Linear):
    """Spectral norm by hand, whose left singular vector is a frozen parameter written through `.data`."""

    def __init__(self) -> None:
        super().__init__(2, 8)
        self.u = nn.Parameter(nn.functional.normalize(torch.ones(8), dim=0), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        v = nn.functional.normalize(self.weight.data.T @ self.u.data, dim=0)
        self.u.data = nn.functional.normalize(self.weight.data @ v, dim=0)
        return nn.functional.linear(x, self.weight / (self.u @ self.weight @ v), self.bias)


def test_frozen_parameters_that_move_are_part_of_the_state() -> None:
    net = nn.Sequential(Normed(), nn.Tanh(), nn.Linear(8, 1))
    before = net[0].u.clone()
    first, second = (Stepper(game(net), methods.alternating(learning_rate=1e-2)) for _ in range(2))
    assert not first.game.traceable and "0.u" in first.state.buffers["discriminator"]
    for _ in range(5):
        first.step()
    second.state = first.state
    second.generator.set_state(first.generator.get_state())
    first.step(), second.step()
    torch.testing.assert_close(first.state.flat(), second.state.flat(), rtol=0, atol=0)
    trained = first.modules()[1]
    torch.testing.assert_close(trained[0].u.data, first.state.buffers["discriminator"]["0.u"], rtol=0, atol=0)
    torch.testing.assert_close(net[0].u, before, rtol=0, atol=0)
    # By the same iteration done by hand on one discriminator of fixed weights.
    vectors, buffers = first.game.initial(torch.Generator())
    _, moved = first.game.losses(vectors, buffers, first.game.draw(torch.Generator()), ("discriminator",))
    u, weight = before, net[0].weight.detach()
    for _ in range(2):  # real samples, then generated ones
        u = nn.functional.normalize(weight @ nn.functional.normalize(weight.T @ u, dim=0), dim=0)
    torch.testing.assert_close(moved["discriminator"]["0.u"], u)


class Merging(nn.Module):
    """A low-rank correction that is merged into the frozen weight in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.a, self.b, self.merged = nn.Parameter(torch.randn(2, 1)), nn.Parameter(torch.randn(1, 2)), False

    def train(self, mode: bool = True) -> Merging:
        if mode == self.merged:
            self.frozen.weight.data += (self.a @ self.b).data * (-1 if mode else 1)
            self.merged = not mode
        return super().train(mode)

    def forward(self, z: Tensor) -> Tensor:
        return self.frozen(z) if self.merged else self.frozen(z) + z @ (self.a @ self.b).T


def test_layers_merged_in_evaluation_mode_are_evaluated_with_the_trained_values() -> None:
    judge = of(plain)
    straight, sampled = (
        Stepper(game(judge, seeded_merging()), methods.alternating(learning_rate=0.1)) for _ in range(2)
    )
    for _ in range(3):
        straight.step(), sampled.step()
        sampled.sample(4)
    torch.testing.assert_close(straight.state.flat(), sampled.state.flat(), rtol=0, atol=0)
    latents, pieces = (
        torch.randn(5, 2),
        straight.game.layouts["generator"].unflatten(straight.state.vectors["generator"]),
    )
    frozen = straight.game.modules["generator"].frozen
    expected = latents @ (frozen.weight + pieces["a"] @ pieces["b"]).T + frozen.bias
    torch.testing.assert_close(straight.game.generate(straight.state, latents), expected)
    torch.testing.assert_close(straight.modules()[0](latents), expected)


def seeded_merging() -> Merging:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Merging()


def test_noise_that_is_drawn_in_evaluation_mode_is_the_same_for_the_same_latents() -> None:
    generator = nn.Sequential(nn.Linear(2, 2), of(lambda s, x: x + 0.1 * torch.randn_like(x) + 0 * plain(s, x)))
    adversarial = game(nn.Linear(2, 1), generator)
    state = methods.alternating().initial(adversarial, torch.Generator())
    first = adversarial.sample(state, 4, torch.Generator().manual_seed(0))
    torch.rand(1)
    assert torch.equal(first, adversarial.sample(state, 4, torch.Generator().manual_seed(0)))


class Labelled(nn.Module):
    def __init__(self, outputs: int, calls: int | None) -> None:
        super().__init__()
        self.net, self.table, self.calls = nn.Linear(2, outputs), nn.Embedding(3, outputs), calls

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        if self.calls is not None:
            self.calls += 1
        return self.net(x) + self.table(label) * (self.calls or 1)


def test_conditional_games_have_the_same_checks() -> None:
    labelled = Arrays(DATA, torch.arange(64) % 3)
    Conditional(Labelled(2, None), Labelled(1, None), labelled, 2, batch=8)
    with pytest.raises(InvalidValue, match="generator: .*calls"):
        Conditional(Labelled(2, 0), Labelled(1, None), labelled, 2, batch=8)


def test_copies_keep_what_functions_share() -> None:
    """Two functions over one variable share it in the copy, which the original does not see."""
    net = of(plain)
    held = net.a

    def swap() -> None:
        nonlocal held
        held = net.b

    net.swap, net.show = swap, lambda: held
    other = copied(net)
    other.swap()
    assert other.show() is other.b and net.show() is net.a
