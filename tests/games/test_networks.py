"""Games of networks: players in every form, terms, samples, settings of evaluation, and what is refused."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, softplus

from detente import methods
from detente.errors import InvalidValue
from detente.fields.gradient import Gradient
from detente.games.networks import Networks
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.sgd import SGD
from detente.schemes.alternating import Alternating
from detente.schemes.simultaneous import Simultaneous
from detente.training.stepper import Stepper

X = torch.linspace(-1, 1, 64).view(16, 4)
DATA = {"x": X}


def first() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 4))


def second() -> nn.Module:
    return nn.Linear(4, 1)


def losses(net: Any, batch: Any, t: Tensor) -> dict[str, Any]:
    y = net.first(batch["x"])
    score = net.second(y)
    return {
        "first": {"near": mse_loss(y, batch["x"]), "fool": softplus(-score).mean()},
        "second": softplus(score).mean() + softplus(-net.second(batch["x"])).mean(),
    }


def players(**changed: Any) -> dict[str, Any]:
    return {"first": first(), "second": second(), **changed}


# ---- Players in every form -----------------------------------------------------------------------------------------


class Sum(nn.Module):
    """A module of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


FORMS: dict[str, tuple[Any, Callable[[Any, Tensor], Any]]] = {
    "module": (Sum(), lambda player, x: player(x)),
    "class": (Sum, lambda player, x: player(x)),
    "function": (lambda: Sum(), lambda player, x: player(x)),
    "list": ([Sum(), Sum()], lambda player, x: sum(part(x) for part in player) * len(player)),
    "list of classes": ([Sum, nn.Linear(4, 1)], lambda player, x: player[0](x) + player[1](x) + player[-1](x)),
    "dictionary": ({"a": Sum(), "b": Sum}, lambda player, x: player["a"](x) + player.b(x)),
    "items": ({"a": Sum(), "b": Sum}, lambda player, x: sum(part(x) for _, part in player.items())),
    "keys": ({"a": Sum(), "b": Sum}, lambda player, x: sum(player[name](x) for name in player)),
    "values": (nn.ModuleDict({"a": Sum()}), lambda player, x: sum(part(x) for part in player.values())),
    "nested": ({"a": [Sum, {"b": Sum()}]}, lambda player, x: player["a"][0](x) + player["a"][1]["b"](x)),
    "sequential": (nn.Sequential(Sum(), nn.Tanh()), lambda player, x: player[1](player[0](x))),
    "tensor": (torch.zeros(4, 1), lambda player, x: x @ player),
    "nested tensor": ({"a": torch.zeros(4, 1), "b": Sum}, lambda player, x: x @ player["a"].value + player["b"](x)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_player_may_have_any_form(form: str) -> None:
    player, call = FORMS[form]

    def losses(net: Any, batch: Any) -> dict[str, Any]:
        return {"first": call(net.first, batch["x"]).square().mean() + call(net["first"], batch["x"]).mean()}

    game = Networks({"first": player}, losses, DATA, batch=4)
    stepper = Stepper(game, Method(Gradient(), Simultaneous(), SGD(0.01)))  # small enough to descend
    before = stepper.state.vectors["first"].clone()
    values = [float(stepper.step(DATA).losses["first"]) for _ in range(20)]
    assert values[-1] < values[0] and not torch.equal(stepper.state.vectors["first"], before)
    trained = stepper.modules()["first"]
    if isinstance(player, Tensor):
        assert isinstance(trained, Tensor) and trained.shape == player.shape
    else:
        assert isinstance(trained, nn.Module) and not trained.training
        assert not isinstance(player, list) or isinstance(trained, nn.ModuleList)


class Properties(nn.Module):
    """A tied weight, a parametrized one, a property and a list of parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.other = nn.Linear(4, 4), nn.Linear(4, 4)
        self.other.weight = self.first.weight
        self.normed, self.size = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), 7
        self.numbers = nn.ParameterList([torch.ones(2)])

    @property
    def twice(self) -> Tensor:
        return 2 * self.first.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + self.other(x)


@pytest.mark.parametrize("name", ["tied", "parametrized", "property", "list"])
def test_tensors_of_a_player_are_those_of_the_current_point(name: str) -> None:
    read: dict[str, Callable[[Any], Tensor]] = {
        "tied": lambda player: player.other.weight,
        "parametrized": lambda player: player.normed.weight,
        "property": lambda player: player.twice,
        "list": lambda player: player.numbers[0],
    }

    def losses(net: Any, batch: Any) -> dict[str, Tensor]:
        assert net.first.size == 7
        return {"first": (read[name](net.first) - 1).square().sum()}

    module = Properties().double()
    stepper = Stepper(Networks({"first": module}, losses, DATA), Method(Gradient(), Simultaneous(), SGD(0.05)))
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    for _ in range(5):
        info = stepper.step()
        loss = (read[name](module) - 1).square().sum()
        torch.testing.assert_close(info.losses["first"], loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for key, tensor in module.state_dict().items():
        torch.testing.assert_close(stepper.modules()["first"].state_dict()[key], tensor, rtol=1e-10, atol=1e-12)


def test_factories_give_new_parameters_for_each_seed_and_modules_do_not() -> None:
    game = Networks({"first": first, "second": second()}, losses, DATA)
    starts = [game.initial(torch.Generator().manual_seed(seed))[0] for seed in (0, 1, 0)]
    assert not torch.equal(starts[0]["first"], starts[1]["first"])
    assert torch.equal(starts[0]["first"], starts[2]["first"]) and torch.equal(starts[0]["second"], starts[1]["second"])


def test_the_users_modules_do_not_change() -> None:
    modules = players(first=nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
    helper = nn.BatchNorm1d(4)
    states = copy.deepcopy([module.state_dict() for module in (*modules.values(), helper)])
    game = Networks(
        modules, lambda net, batch: {**losses(net, {"x": net.look(batch["x"])}, X)}, DATA, 8, {"look": helper}
    )
    stepper = Stepper(game, methods.alternating())
    for _ in range(3):
        stepper.step()
    for module, state in zip((*modules.values(), helper), states, strict=True):
        assert module.training and all(torch.equal(module.state_dict()[name], state[name]) for name in state)
    stepper.modules()["first"][0].weight.data.zero_()
    assert float(stepper.state.vectors["first"].abs().sum()) > 0


def test_lazy_layers_get_their_shapes_from_the_losses() -> None:
    lazy = lambda: nn.Sequential(nn.LazyLinear(3), nn.Tanh(), nn.LazyLinear(4))  # noqa: E731
    game = Networks({"first": lazy, "second": nn.LazyLinear(1)}, losses, DATA)
    vectors, _ = game.initial(torch.Generator().manual_seed(0))
    assert {name: len(vector) for name, vector in vectors.items()} == {"first": 31, "second": 5}
    Stepper(game, methods.alternating()).step()
    with pytest.raises(InvalidValue, match="first: got 'lazy layers without a shape'"):
        Networks(
            {"first": nn.LazyLinear(3), "second": second()},
            lambda net, b: {"first": 0, "second": net.second(X).mean()},
            DATA,
        )


def test_multipliers_stay_feasible_by_projection() -> None:
    """Minimise x² with x ≥ 1: x → 1 and the multiplier → 2; that of a constraint that holds anyway → 0."""

    def losses(net: Any, batch: Any) -> dict[str, Tensor]:
        slack = torch.stack([1 - net.x, -5 - net.x]).flatten()
        return {"x": net.x.square().sum() + net.multipliers @ slack, "multipliers": -net.multipliers @ slack}

    game = Networks(
        {"x": torch.tensor([3.0]), "multipliers": torch.tensor([1.0, 1.0])},
        losses,
        lambda generator: {"unused": torch.zeros(1)},
        project={"multipliers": lambda value: value.clamp_min(0)},
    )
    stepper = Stepper(game, Method(Gradient(), Alternating(), SGD(0.1)))
    for _ in range(300):
        stepper.step()
        assert float(stepper.modules()["multipliers"].min()) >= 0
    torch.testing.assert_close(stepper.modules()["x"], torch.tensor([1.0]), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(stepper.modules()["multipliers"], torch.tensor([2.0, 0.0]), rtol=1e-3, atol=1e-3)


def test_sides_move_as_one_player_and_report_the_terms_of_their_members() -> None:
    four = {"forth": first(), "back": first(), "judge": second(), "weights": torch.ones(2)}

    def losses(net: Any, batch: Any, t: Tensor) -> dict[str, Any]:
        y = net.forth(batch["x"])
        score = net.judge(y)
        return {
            "forth": {"fool": softplus(-score).mean()},
            "back": {"cycle": mse_loss(net.back(y), batch["x"])},
            "judges": {"score": softplus(score).mean(), "weights": net.weights.square().sum()},
        }

    sides = {"generators": ("forth", "back"), "judges": ["judge", "weights"]}
    game = Networks(four, losses, DATA, batch=8, sides=sides, project={"weights": lambda value: value.clamp(0.5, 1)})
    assert game.players == ("generators", "judges")
    stepper = Stepper(game, Method(Gradient(), Simultaneous(), SGD(0.1)))
    info = stepper.step()
    assert list(info.terms["generators"]) == ["forth.fool", "back.cycle"]
    assert list(info.terms["judges"]) == ["score", "weights"]
    total = sum(info.terms["generators"].values())
    torch.testing.assert_close(info.losses["generators"], total)
    for _ in range(20):
        stepper.step()
    trained = stepper.modules()
    assert list(trained) == ["forth", "back", "judge", "weights"] and isinstance(trained["forth"], nn.Sequential)
    assert trained["weights"].tolist() == [0.5, 0.5]
    alone = Networks(four, lambda n, b, t: {**losses(n, b, t)}, DATA, batch=8, sides=sides)
    consensus = Stepper(alone, methods.consensus())
    assert bool(consensus.step().finite)


def test_memory_of_the_losses_passes_from_step_to_step() -> None:
    def losses(net: Any, batch: Any) -> dict[str, Tensor]:
        loss = net.first(batch["x"]).square().mean()
        net.memory["mean"] = 0.5 * net.memory["mean"] + 0.5 * loss.detach()
        return {"first": loss / (1 + net.memory["mean"])}

    game = Networks({"first": first()}, losses, DATA, memory={"mean": torch.ones(())})
    stepper = Stepper(game, methods.simultaneous(learning_rate=0.0001))
    expected = 1.0
    for _ in range(3):
        expected = 0.5 * expected + 0.5 * float(stepper.modules()["first"](X).detach().square().mean())
        stepper.step(DATA)
        assert float(stepper.state.buffers["memory"]["mean"]) == pytest.approx(expected, rel=1e-5)


# ---- Terms ---------------------------------------------------------------------------------------------------------


def test_loss_terms_given_as_functions_are_called_only_when_their_player_moves() -> None:
    called: Counter[str] = Counter()

    def losses(net: Any, batch: Any, t: Tensor) -> dict[str, Any]:
        y = net.first(batch["x"])

        def counted(name: str, value: Callable[[], Tensor]) -> Callable[[], Tensor]:
            return lambda: called.update([name]) or value()  # type: ignore[func-returns-value]

        return {
            "first": {
                "near": counted("near", lambda: mse_loss(y, batch["x"])),
                "fool": counted("fool", lambda: -net.second(y).mean()),
            },
            "second": counted("second", lambda: net.second(y).square().mean()),
        }

    game = Networks(players(), losses, DATA, batch=4)
    for scheme, second_turns in ((Simultaneous(), 1), (Alternating(turns={"second": 3}), 3)):
        stepper = Stepper(game, Method(Gradient(), scheme, Adam(0.01)))
        called.clear()
        info = stepper.step()
        assert called == {"near": 1, "fool": 1, "second": second_turns}
        assert set(info.terms) == {"first"} and list(info.terms["first"]) == ["near", "fool"]
        torch.testing.assert_close(info.losses["first"], sum(info.terms["first"].values()))


@pytest.mark.parametrize("name", ["simultaneous", "consensus", "extragradient", "optimistic", "lookahead"])
def test_terms_are_in_the_statistics_of_every_method(name: str) -> None:
    info = Stepper(Networks(players(), losses, DATA, batch=8), getattr(methods, name)()).step()
    assert list(info.terms["first"]) == ["near", "fool"]
    torch.testing.assert_close(info.losses["first"], sum(info.terms["first"].values()))


def test_losses_may_take_the_step_and_a_player_may_join_later() -> None:
    def later(net: Any, batch: Any, t: Tensor) -> dict[str, Any]:
        y = net.first(batch["x"])
        near = {"near": mse_loss(y, batch["x"]), "weight": 0.1 * t}
        if t < 3:
            return {"first": near, "second": 0.0}
        return {"first": {**near, "fool": -net.second(y).mean()}, "second": net.second(y).square().mean()}

    game = Networks({"first": first, "second": nn.LazyLinear(1)}, later, DATA, batch=8)
    stepper = Stepper(game, methods.alternating())
    start = stepper.state.vectors["second"]
    infos = [stepper.step() for _ in range(3)]
    assert torch.equal(stepper.state.vectors["second"], start)
    assert [float(info.terms["first"]["weight"]) for info in infos] == pytest.approx([0, 0.1, 0.2])
    infos += [stepper.step()]
    assert list(infos[-1].terms["first"]) == ["near", "weight", "fool"]
    assert not torch.equal(stepper.state.vectors["second"], start)


# ---- Samples -------------------------------------------------------------------------------------------------------


def test_samples_are_generated_in_evaluation_mode() -> None:
    def show(net: Any, batch: Any) -> dict[str, Tensor]:
        return {"outputs": net.first(batch["x"]), "inputs": batch["x"]}

    norm = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    game = Networks(players(first=norm), losses, DATA, batch=8, show=show)
    stepper = Stepper(game, methods.alternating())
    for _ in range(3):
        stepper.step()
    flat = {name: tensor.clone() for name, tensor in stepper.state.flat().items()}
    random = torch.get_rng_state()
    samples = stepper.sample(11)
    assert samples.shape == (11, 4) and torch.equal(samples, stepper.sample(11))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(flat[name], tensor) for name, tensor in stepper.state.flat().items())
    shown = game.show(stepper.state, game.complete({"x": X}, torch.Generator()))
    torch.testing.assert_close(shown["outputs"], stepper.modules()["first"](X))
    assert all(module.training for module in game.modules.values())
    with pytest.raises(InvalidValue, match="show"):
        Stepper(Networks(players(), losses, DATA), methods.alternating()).sample(3)


# ---- Settings of evaluation ----------------------------------------------------------------------------------------


def test_accumulated_gradients_equal_those_of_the_whole_batch() -> None:
    game = Networks({name: module.double() for name, module in players().items()}, losses, {"x": X.double()}, batch=8)
    whole, parts = (Stepper(game, methods.alternating(), accumulate=count) for count in (1, 3))
    for _ in range(3):
        first, second = whole.step(), parts.step()
    torch.testing.assert_close(first.terms, second.terms)
    torch.testing.assert_close(whole.state.vectors, parts.state.vectors, rtol=1e-8, atol=1e-10)


def test_bfloat16_and_channels_last() -> None:
    def convolutions(net: Any, batch: Any) -> dict[str, Any]:
        y = net.first(batch["x"])
        assert y.dtype == torch.float32
        return {
            "first": {"near": mse_loss(y, batch["x"]), "fool": -net.second(y).mean()},
            "second": net.second(y).square().mean(),
        }

    images = {"x": torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))}
    nets = {"first": nn.Conv2d(3, 3, 3, padding=1), "second": nn.Conv2d(3, 1, 3)}
    game = Networks(nets, convolutions, images, batch=4)
    plain, last, half = (
        Stepper(game, methods.alternating(), **options)  # type: ignore[arg-type]
        for options in ({}, {"channels_last": True}, {"precision": "bfloat16"})
    )
    results = [stepper.step() for stepper in (plain, last, half)]
    torch.testing.assert_close(results[0].terms, results[1].terms)
    torch.testing.assert_close(results[0].terms, results[2].terms, rtol=0.05, atol=0.05)
    assert float(results[0].losses["second"]) != float(results[2].losses["second"])


def test_steps_that_cannot_be_traced_run_eagerly_and_give_the_reason() -> None:
    def branching(net: Any, batch: Any, t: Tensor) -> dict[str, Any]:
        y = net.first(batch["x"])
        return {"first": y.square().mean() if y.mean() > 0 else y.abs().mean()}

    game = Networks({"first": first()}, branching, DATA)
    with pytest.warns(UserWarning, match="steps run eagerly, not compiled"):
        stepper = Stepper(game, methods.simultaneous(), compiled=True)
        stepper.step()
    assert stepper.execution.startswith("eager, not compiled: ")
    dropout = Networks(
        {"first": nn.Sequential(first(), nn.Dropout(0.5))}, lambda n, b: {"first": n.first(b["x"]).mean()}, DATA
    )
    assert not dropout.traceable and dropout.randomness


# ---- Refusals ------------------------------------------------------------------------------------------------------


class Growing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        self.weight = nn.Parameter(torch.ones(4, self.weight.shape[1] + 1))
        return x @ self.weight[:, :4]


class Writing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.mul_(2))


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(4, 4), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.layer(x) * self.calls


class Growth:
    """A factory whose modules have other shapes at each call."""

    def __init__(self) -> None:
        self.size = 4

    def __call__(self) -> nn.Module:
        self.size += 1
        return nn.Sequential(nn.Linear(4, self.size), nn.Linear(self.size, 4))


SHARED = nn.Linear(4, 4)
MIXED = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).double())


def game(
    first: Callable[[Any, Any], Any] | None = None, net: dict[str, Any] | None = None, data: Any = DATA, **options: Any
) -> Networks:
    """Return a game in which the loss of `first` is a function of (net, x)."""
    loss = first or (lambda net, x: net.first(x).mean())
    return Networks(
        net or players(),
        lambda net, batch, t: {"first": loss(net, batch["x"]), "second": net.second(batch["x"]).mean()},
        data,
        batch=4,
        **options,
    )


def raw(returned: Callable[[Any, Any], Any], **options: Any) -> Networks:
    """Return a game whose losses are a function of (net, x)."""
    return Networks(players(), lambda net, batch: returned(net, batch["x"]), DATA, **options)


calls = 0


def counted(net: Any, x: Tensor) -> Tensor:
    global calls
    calls += 1
    return net.first(x).square().mean() * calls


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch has deprecated it
    SCRIPTED = torch.jit.script(nn.Linear(4, 4))


def sampled() -> tuple[Any, int, torch.Generator]:
    return Stepper(game(), methods.alternating()).state, 2, torch.Generator()


def three(net: Any, batch: Any) -> dict[str, Any]:
    return {name: net[name](batch["x"]).square().mean() for name in "abc"}


def double() -> Networks:
    return Networks({"first": first().double(), "second": second().double()}, losses, {"x": X.double()}, batch=4)


REFUSED: dict[str, tuple[Callable[[], Networks], str]] = {
    "a loss is missing": (lambda: raw(lambda n, x: {"first": n.first(x).mean()}), "losses: .*no loss for second"),
    "unknown player": (lambda: raw(lambda n, x: {"first": 0.0, "second": 0.0, "third": 0.0}), "losses: got 'third'"),
    "no dictionary": (lambda: raw(lambda n, x: n.first(x).mean()), "losses: got 'Tensor'"),
    "unknown name": (lambda: game(lambda n, x: n.third(x)), "net.third: .*there are first, second, memory.*[Ll]ine"),
    "not a scalar": (lambda: game(lambda n, x: {"a": n.first(x)}), r"losses.first.a: got 'a tensor of shape \(4, 4\)'"),
    "an integer tensor": (lambda: game(lambda n, x: n.first(x).argmax()), "losses.first: got 'torch.int64'"),
    "text": (lambda: game(lambda n, x: "x"), "losses.first: got 'str'"),
    "no terms": (lambda: game(lambda n, x: {}), "losses.first: got 'no terms'"),
    "nested terms": (lambda: game(lambda n, x: {"a": {"b": n.first(x).mean()}}), "losses.first.a: got 'dict'"),
    "a term without gradient": (
        lambda: game(lambda n, x: {"a": n.first(x).mean().detach(), "b": n.first(x).mean()}),
        "losses.first.a: got 'a tensor without a gradient'.*no_grad, detach",
    ),
    "a detached player": (
        lambda: game(lambda n, x: -n.second(n.first(x).detach()).mean()),
        "losses.first: got 'a loss that does not depend.*Is net.first called",
    ),
    "a player never called": (lambda: game(lambda n, x: n.second(x).mean()), "losses.first: .*Is net.first called"),
    "a constant": (lambda: game(lambda n, x: n.first(x).mean().item()), "losses.first: got .*parameters of first"),
    "other keys": (
        lambda: Networks(players(), lambda n, b: n.first(b["image"]), DATA),
        "losses: got \"KeyError: 'image'\".*Line .* of test_networks.py: .*The batch is a dict with x",
    ),
    "an exception": (lambda: game(lambda n, x: 1 / 0), "losses: got 'ZeroDivisionError: division by zero'.*Line"),
    "of a module": (lambda: game(lambda n, x: n.first(x[:, :3])), "losses: got 'RuntimeError: mat1.*Line"),
    "changing shapes": (lambda: game(net=players(first=Growing())), "first: got 'forward writes the parameter weight'"),
    "writing module": (lambda: game(net=players(first=Writing())), "first: got 'Writing writes into its input'"),
    "writing losses": (
        lambda: game(lambda n, x: n.first(x.mul_(2)).mean()),
        "losses: got 'losses that write into the b",
    ),
    "module with state": (lambda: game(net=players(first=Counting())), "first: got 'Counting, whose output depends on"),
    "losses with state": (lambda: game(counted), "losses.first: got 'a value that depends on earlier calls'"),
    "one argument": (lambda: Networks(players(), lambda net: {}, DATA), "losses: got 'a function of 1 arg"),
    "four arguments": (lambda: Networks(players(), lambda a, b, c, d: {}, DATA), "losses: got 'a function of 4 arg"),
    "no function": (lambda: Networks(players(), "losses", DATA), "losses: got 'losses'"),  # type: ignore[arg-type]
    "shared": (lambda: game(net={"first": SHARED, "second": [SHARED]}), "second: got '0.weight'.*share the parameter"),
    "dtypes": (lambda: game(net=players(first=MIXED)), "first: got .*one floating dtype"),
    "a factory of shapes": (
        lambda: game(net=players(first=Growth())),
        "first: got 'parameters of other names or shapes",
    ),
    "a factory that fails": (lambda: game(net=players(first=lambda: 1 / 0)), "first: got 'ZeroDivisionError.*Line"),
    "a class with arguments": (lambda: game(net=players(first=nn.Linear)), "first: got .TypeError: Linear.__init__"),
    "no module": (lambda: game(net=players(first=lambda: 3)), "first: .*an nn.Module"),
    "a number": (lambda: game(net=players(first=3)), "first: got 3"),
    "integers": (lambda: game(net=players(first=torch.arange(3))), "first: got 'torch.int64'"),
    "no parameters": (lambda: game(net=players(first=nn.ReLU())), "first: got 'no trainable parameter'"),
    "no players": (lambda: Networks({}, losses, DATA), "players: got {}"),
    "a list of players": (lambda: Networks([first()], losses, DATA), "players: got"),  # type: ignore[arg-type]
    "names": (lambda: game(net=players(**{"a b": second()})), "players: got 'a b'"),
    "taken names": (lambda: game(net=players(memory=second())), "players: got 'memory'"),
    "a keyword": (lambda: game(net=players(**{"class": second()})), "players: got 'class'"),
    "a frozen number": (lambda: game(frozen={"look": 3}), "frozen.look: got 3"),
    "a frozen player": (lambda: game(frozen={"first": second()}), "players: got 'first'"),
    "unknown member": (lambda: game(sides={"a": ["third"]}), "sides.a: got 'third'; allowed: each of first, second"),
    "member twice": (lambda: game(sides={"a": ["first"], "b": ["first"]}), "sides.b: got 'first'"),
    "an empty side": (lambda: game(sides={"a": []}), "a: got"),
    "projecting none": (
        lambda: game(project={"third": abs}),
        "project: got 'third'; allowed: functions for first, second",
    ),
    "projecting a module": (
        lambda: game(project={"first": abs}),
        "project: got 'first'; allowed: players that are tensors",
    ),
    "projecting elsewhere": (
        lambda: game(lambda n, x: n.first.sum(), players(first=torch.ones(3)), project={"first": lambda v: v[:2]}),
        r"project.first: got .*a tensor of shape \(3,\)",
    ),
    "undeclared memory": (
        lambda: game(lambda n, x: n.memory.update(a=x.sum()) or n.first(x).mean()),
        r"net.memory: got 'a'; allowed: memory declared in Networks\(…, memory=…\): none",
    ),
    "batch": (lambda: Networks(players(), losses, DATA, batch=0), "batch: got 0"),
    "data": (lambda: game(data=3), "data: got 'int'"),
    "a scripted module": (lambda: game(net=players(first=SCRIPTED)), "first: got .*Pass the module before torch.jit"),
    "a show that fails": (
        lambda: game(show=lambda net, batch: 1 / 0).sample(*sampled()),
        "show: got 'ZeroDivision.*Line",
    ),
    "a show of nothing": (
        lambda: game(show=lambda net, batch: None).sample(*sampled()),
        "show: got 'samples: NoneType'",
    ),
    "a show of a number": (
        lambda: game(show=lambda net, batch: torch.tensor(1.0)).sample(*sampled()),
        r"show: got 'samples: \(\)'; allowed: tensors of samples",
    ),
    "a generator among three": (
        lambda: Stepper(Networks({name: second() for name in "abc"}, three, DATA), methods.unrolled()),
        "players: got 'a, b, c'; allowed: two players, .*sides=",
    ),
    "precision of float64": (
        lambda: Stepper(double(), methods.alternating(), precision="bfloat16"),
        "precision: got 'bfloat16'.*these are torch.float64",
    ),
    "data that fail": (lambda: game(data=lambda generator: 1 / 0), "data: got 'ZeroDivisionError.*Line"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_games_give_one_line_errors(name: str) -> None:
    build, pattern = REFUSED[name]
    with pytest.raises(InvalidValue, match=pattern) as caught:
        build()
    assert "\n" not in str(caught.value)
    if "Error: " in str(caught.value):
        assert caught.value.__cause__ is not None, "the original exception, with its traceback"


def test_an_error_at_a_later_step_gives_a_one_line_message() -> None:
    def failing(net: Any, x: Tensor) -> Any:
        return net.first(x).view(4, 4).mean()

    stepper = Stepper(game(failing), methods.alternating())
    stepper.step()
    with pytest.raises(
        InvalidValue, match="losses: got .*shape '\\[4, 4\\]' is invalid for input of size 12.*Line"
    ) as caught:
        stepper.step({"x": torch.zeros(3, 4)})
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(InvalidValue, match="batch: got 'image'; allowed: a batch with x"):
        stepper.step({"image": X})
