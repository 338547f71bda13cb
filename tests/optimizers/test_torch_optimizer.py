"""Optimizers of torch as members: against the plain loop, resumed, with groups and schedules, and other packages'."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detente import methods, optimizers
from detente.errors import InvalidValue
from detente.fields.gradient import Gradient
from detente.games.adversarial import Adversarial
from detente.games.quadratic import Bilinear
from detente.methods.method import Method
from detente.modules.layout import Layout
from detente.networks.mlp import MLP
from detente.optimizers.clipped_gradient import ClippedGradient
from detente.optimizers.torch_optimizer import Torch
from detente.schedules import Cosine, Linear
from detente.schemes.alternating import Alternating
from detente.schemes.extragradient import Extragradient
from detente.state import State
from detente.training.step import Steps, draw

STEPS = 20
ALL = sorted(
    name
    for name, item in vars(torch.optim).items()
    if isinstance(item, type) and issubclass(item, torch.optim.Optimizer) and item is not torch.optim.Optimizer
)
REFUSED = ("LBFGS", "SparseAdam")
SETTINGS: dict[str, list[dict[str, Any]]] = {  # in addition to the defaults
    "SGD": [{"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}],
    "Adam": [{"amsgrad": True, "weight_decay": 0.1}],
    "AdamW": [{"lr": 0.01, "betas": (0.5, 0.9)}],
    "RMSprop": [{"centered": True, "momentum": 0.5}],
    "Rprop": [{"lr": 0.05}],
    "Adagrad": [{"initial_accumulator_value": 0.3}],
}
CASES = [(name, settings) for name in ALL if name not in REFUSED for settings in [{}, *SETTINGS.get(name, [])]]


def network(name: str = "") -> tuple[dict[str, nn.Parameter], Callable[[], Tensor]]:
    """Return the parameters of a small network, only its matrices for Muon, and its loss."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2)).double()
        inputs, targets = torch.randn(8, 3).double(), torch.randn(8, 2).double()
    named = {key: p for key, p in module.named_parameters() if name != "Muon" or p.ndim == 2}
    return named, lambda: (module(inputs) - targets).square().mean()


def vector_of(named: dict[str, nn.Parameter]) -> Tensor:
    return torch.cat([parameter.data.reshape(-1) for parameter in named.values()])


def plain_loop(
    named: dict[str, nn.Parameter], loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer, steps: int = STEPS
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the points of the usual loop and the gradients at them, as vectors."""
    points, gradients = [vector_of(named)], []
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        gradients.append(torch.cat([p.grad.reshape(-1) for p in named.values() if p.grad is not None]))
        optimizer.step()
        points.append(vector_of(named))
    return points, gradients


def walk(member: Torch, named: dict[str, nn.Parameter], start: Tensor, gradients: list[Tensor]) -> list[Tensor]:
    """Return the points of the member along given gradients; every other step overwrites its arguments."""
    bound = member.for_layout(Layout.of({key: p.data for key, p in named.items()}))
    x, memory, points = start.clone(), bound.initial(start), [start.clone()]
    for t, gradient in enumerate(gradients):
        move = bound.step_in_place if t % 2 else bound
        before = gradient.clone()
        x, memory = move(x, gradient, memory, torch.tensor(t))
        assert torch.equal(gradient, before)
        points.append(x.clone())
    return points


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_every_torch_optimizer_equals_the_plain_loop(name: str, settings: dict[str, Any]) -> None:
    kind = getattr(torch.optim, name)
    named, loss = network(name)
    points, gradients = plain_loop(named, loss, kind(list(named.values()), **settings))
    actual = walk(optimizers.torch(kind, **settings), named, points[0], gradients)
    assert not torch.equal(points[0], points[-1])
    for step, (point, expected) in enumerate(zip(actual, points, strict=True)):
        assert torch.equal(point, expected), step


@pytest.mark.parametrize("name", REFUSED)
def test_optimizers_that_need_something_else_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(InvalidValue, match=f"optimizer: got '{name}'; allowed: .*dense gradients") as caught:
        optimizers.torch(name)
    assert "\n" not in str(caught.value)


def test_groups_by_name_and_by_dimensions() -> None:
    """The plain loop's groups, and the last pattern wins."""
    named, loss = network()
    biases = [p for key, p in named.items() if key.endswith("bias")]
    norms = [p for key, p in named.items() if key == "1.weight"]
    others = [p for key, p in named.items() if p.ndim == 2]
    groups = [
        {"params": others},
        {"params": norms, "weight_decay": 0.0, "lr": 0.5},
        {"params": biases, "weight_decay": 0.0, "lr": 0.01},
    ]
    points, gradients = plain_loop(named, loss, torch.optim.AdamW(groups, lr=0.1, weight_decay=0.3))
    patterns = {"ndim<2": {"weight_decay": 0.0, "lr": 0.5}, "*.bias": {"lr": 0.01}}
    member = optimizers.torch(torch.optim.AdamW, lr=0.1, weight_decay=0.3, groups=patterns)
    for point, expected in zip(walk(member, named, points[0], gradients), points, strict=True):
        torch.testing.assert_close(point, expected, rtol=1e-13, atol=0)


def test_settings_may_be_schedules() -> None:
    named, loss = network()
    rate, beta = Cosine(0.1, 0.01, 15), Linear(0.5, 0.9, 10)
    optimizer = torch.optim.Adam(list(named.values()))
    points, gradients = [vector_of(named)], []
    for t in range(STEPS):
        step = torch.tensor(t).double()
        optimizer.param_groups[0].update(lr=float(rate(step)), betas=(float(beta(step)), 0.99))
        more, gradient = plain_loop(named, loss, optimizer, 1)
        points, gradients = points + more[1:], gradients + gradient
    member = Torch("Adam", lr=rate, betas=(beta, 0.99))
    for point, expected in zip(walk(member, named, points[0], gradients), points, strict=True):
        assert torch.equal(point, expected)


def test_settings_from_a_command_line_are_numbers_and_schedules() -> None:
    optimizer = Torch("AdamW", {"ndim<2": {"lr": "1e-3"}}, lr="cosine(1e-3, 0, 100)", weight_decay="1e-2")
    assert optimizer == Torch("AdamW", {"ndim<2": {"lr": 1e-3}}, lr=Cosine(1e-3, 0, 100), weight_decay=1e-2)
    assert Torch("Muon", adjust_lr_fn="match_rms_adamw").settings == {"adjust_lr_fn": "match_rms_adamw"}


# ---- Optimizers of other packages -----------------------------------------------------------------------------------


class Preconditioned(torch.optim.Optimizer):
    """State as SOAP's: lists of tensors, one entry that is None at first, a number, and an idle first step."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state.update(step=0, factors=[torch.zeros(size).to(p) for size in p.shape], basis=None, hot=False)
                    continue
                state["step"] += 1
                state["hot"] = state["step"] % 2 == 0
                state["factors"] = [f + 1.0 for f in state["factors"]]
                state["basis"] = [f / state["step"] for f in state["factors"]]
                p.add_(p.grad, alpha=-group["lr"] * float(state["basis"][0].mean()) / (1 + state["hot"]))


class Adaptive(torch.optim.Optimizer):
    """Numbers in its groups, as Prodigy's d and k; overwrites its gradients, and replaces its parameters."""

    def __init__(self, params: Any, lr: float = 1.0, d: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "d": d})
        for group in self.param_groups:
            group["k"] = 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.grad.mul_(group["d"] * group["lr"])
                p.data = p.data - p.grad
                group["d"] *= 1.1 + 0.1 * (group["k"] % 3)
            group["k"] += 1


@pytest.mark.parametrize("kind", [Preconditioned, Adaptive])
def test_states_of_other_packages(kind: type) -> None:
    named, loss = network()
    points, gradients = plain_loop(named, loss, kind(list(named.values())))
    for point, expected in zip(walk(Torch(kind), named, points[0], gradients), points, strict=True):
        assert torch.equal(point, expected)


class Queue(torch.optim.SGD):
    """An object in its state that is neither a tensor nor a number."""

    def step(self, closure: Any = None) -> None:
        for p in self.param_groups[0]["params"]:
            self.state[p]["queue"] = {1, 2}
        super().step(closure)


def test_a_state_of_other_objects_is_refused_when_the_optimizer_is_built() -> None:
    with pytest.raises(InvalidValue, match="optimizer: got 'Queue'; .*tensors and numbers. weight/queue is of .*set"):
        Torch(Queue)


@pytest.mark.parametrize("kind", ["Adam", "NAdam", "SGD", "Adafactor", Preconditioned, Adaptive], ids=str)
def test_a_fresh_optimizer_continues_from_the_memory(kind: Any) -> None:
    """The memory is all there is: from any step, another instance takes the same steps, after a pickle too."""
    settings: dict[str, Any] = {"momentum": 0.9} if kind == "SGD" else {}
    named, loss = network()
    layout = Layout.of({key: p.data for key, p in named.items()})
    points, gradients = plain_loop(named, loss, torch.optim.SGD(list(named.values()), 0.1), 6)
    member = Torch(kind, **settings).for_layout(layout)
    x, memory = points[0], member.initial(points[0])
    saved = []
    for t, gradient in enumerate(gradients):
        saved.append((x, memory))
        x, memory = member(x, gradient, memory, torch.tensor(t))
    for step, (y, memory_then) in enumerate(saved):
        other = pickle.loads(pickle.dumps(Torch(kind, **settings))).for_layout(layout)
        memory_then = {name: tensor.clone() for name, tensor in memory_then.items()}
        for t in range(step, 6):
            y, memory_then = other(y, gradients[t], memory_then, torch.tensor(t))
        assert torch.equal(y, x), step
        assert {n: (v.shape, v.dtype) for n, v in memory_then.items()} == {
            n: (v.shape, v.dtype) for n, v in memory.items()
        }


# ---- In games -------------------------------------------------------------------------------------------------------


def gan() -> Adversarial:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator, discriminator = MLP(3, 2, 4, 1).double(), MLP(2, 1, 4, 1).double()
    samples = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(generator, discriminator, samples, 3, batch=4)


def run(game: Any, method: Method, steps: int, donate: bool = False) -> State:
    generator = torch.Generator().manual_seed(0)
    state = method.initial(game, generator)
    for _ in range(steps):
        drawn = draw(game, method, state, generator)
        state, _ = method.step(game, state, drawn.batches, drawn.noise, donate)
    return state


@pytest.mark.parametrize("donate", [False, True])
def test_a_gan_trained_by_torchs_adam_equals_one_trained_by_detentes(donate: bool) -> None:
    torchs = run(gan(), methods.alternating(optimizer=Torch("Adam", lr=2e-4, betas=(0.5, 0.999))), 5, donate)
    expected = run(gan(), methods.alternating(), 5, donate)
    torch.testing.assert_close(torchs.vectors, expected.vectors, rtol=1e-12, atol=1e-13)
    names = gan().layouts["generator"].names
    assert {f"{name}/exp_avg" for name in names} <= set(torchs.memory["optimizers"]["generator"])


def test_a_plain_vector_is_one_parameter_and_wrappers_pass_the_layout_on() -> None:
    game = Bilinear(2)
    method = Method(Gradient(), Extragradient(), Torch("SGD", lr=0.1, momentum=0.5))
    assert set(run(game, method, 1).memory["optimizers"]["x"]) == {"structure", "vector/momentum_buffer"}
    clipped = ClippedGradient(Torch("AdamW", groups={"ndim<2": {"weight_decay": 0.0}}), norm=0.1)
    memory = run(gan(), Method(Gradient(), Alternating(), clipped), 1).memory["optimizers"]["discriminator"]
    assert any(key.endswith("weight/exp_avg") for key in memory)


def test_steps_fall_back_to_eager_and_give_the_reason() -> None:
    method = methods.alternating(optimizer=Torch("AdamW"))
    steps = Steps(gan(), method, compiled=True)
    assert not steps.compiled and "optimizer" in steps.fallback_reason


def test_an_optimizer_by_import_path_gets_the_methods_rates() -> None:
    method = methods.alternating("torch.optim.AdamW", {"generator": 1e-4, "discriminator": 4e-4})
    assert isinstance(method.optimizer, dict)
    assert method.optimizer["discriminator"] == Torch(torch.optim.AdamW, lr=4e-4)
    assert methods.alternating("torch.optim.SGD").optimizer == Torch("SGD", lr=2e-4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Torch("AdmW"), r"kind: got 'AdmW'.*Did you mean 'AdamW'\?"),
        (lambda: Torch("torch.optim.Nothing"), "kind: got 'torch.optim.Nothing'"),
        (lambda: Torch(nn.Linear), "kind: got .*Linear"),  # pyright: ignore[reportArgumentType]
        (lambda: Torch("AdamW", learning_rate=0.1), "optimizer: got 'AdamW'.*unexpected keyword argument"),
        (lambda: Torch("AdamW", lr=-1.0), "optimizer: got 'AdamW'.*Invalid learning rate"),
        (lambda: Torch("AdamW", groups={"ndim==2": {"decay": 0.0}}), "groups: got 'decay'.*weight_decay"),
        (lambda: Torch("AdamW", groups={"*.bias": 0.0}), "groups: got"),  # pyright: ignore[reportArgumentType]
        (lambda: methods.alternating("torch.optim.LBFGS"), "optimizer: got 'torch.optim.LBFGS'.*closure"),
        (lambda: methods.alternating("torch.optim.Nothing"), "optimizer: got 'torch.optim.Nothing'"),
        (lambda: run(gan(), methods.alternating(Torch("Adam", groups={"*.bais": {"lr": 0.1}})), 1), r"groups: .*bais"),
        (lambda: run(gan(), methods.alternating(Torch("Muon")), 1), "optimizer: got 'Muon'.*2D parameters"),
    ],
)
def test_invalid_settings_give_one_line_errors(build: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidValue, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_members_can_be_compared_and_copied() -> None:
    member = Torch("AdamW", lr=0.1, groups={"ndim<2": {"weight_decay": 0.0}})
    run(gan(), methods.alternating(member), 1)
    assert copy.deepcopy(member) == member == Torch("torch.optim.AdamW", {"ndim<2": {"weight_decay": 0.0}}, lr=0.1)
    assert member != Torch("AdamW", lr=0.2)
