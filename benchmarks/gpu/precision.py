"""bfloat16 and channels-last images: near the float32 step from the same state and batch."""

from __future__ import annotations

import copy

import torch
from torch.nn.functional import softplus

from benchmarks.gpu.agreement import without_tf32
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import dcgan, finite_ring, moved, relative
from detente import methods
from detente.game import EvaluationSettings
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.optimizers.sgd import SGD
from detente.training.settings import require_supported
from detente.training.step import draw, to_device
from detente.training.stepper import Stepper

ROUNDED = ("bfloat16", "bfloat16, channels last")
SETTINGS = {
    "channels last": EvaluationSettings(channels_last=True),
    "bfloat16": EvaluationSettings(precision="bfloat16"),
    "bfloat16, channels last": EvaluationSettings(precision="bfloat16", channels_last=True),
}
AS_BY_HAND = 1.5  # times the distance that bfloat16 makes by hand, with other roundings of the same size


def cheaper_arithmetic(findings: Findings) -> None:
    """How far each cheaper step's move is from the plain one's; bfloat16 beside a hand-written gradient in it."""
    without_tf32()
    width, batch, steps = (32, 64, 200) if findings.gpu else (4, 8, 3)
    images = dcgan(28, width, batch)
    rounding = _by_hand(images, findings)
    findings.add("DCGAN-28: gradients by hand, under torch.autocast", f"{rounding:.1e}", detail="from float32's")
    for name, settings in SETTINGS.items():
        for method_name in ("simultaneous", "alternating", "consensus"):
            what = f"DCGAN-28, {method_name}, {name}: one step's move"
            with findings.guarded(what):
                found = _apart(images, methods.names()[method_name](optimizer=SGD(0.1)), settings, findings)
                if name in ROUNDED and method_name != "simultaneous":
                    findings.add(what, f"{found:.1e}")
                else:
                    findings.difference(what, found, AS_BY_HAND * rounding if name in ROUNDED else 1e-3)
    for method_name in ("alternating", "consensus"):
        what = f"ring, {method_name}, in two parts (accumulate): one step's move"
        with findings.guarded(what):
            method = methods.names()[method_name](optimizer=SGD(0.1))
            found = _apart(finite_ring(torch.float32), method, EvaluationSettings(accumulate=2), findings)
            findings.difference(what, found, 1e-4)
    with findings.guarded("Stepper in bfloat16"):
        losses = {}
        for precision in ("float32", "bfloat16"):
            stepper = Stepper(
                dcgan(28, width, batch), methods.alternating(), precision=precision, device=findings.device
            )
            infos = [stepper.step() for _ in range(steps)]
            last = torch.stack([info.losses["discriminator"] for info in infos[-steps // 4 :]]).mean()
            losses[precision] = float(last)
        text = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        finite = all(loss == loss and abs(loss) < 1e3 for loss in losses.values())
        what = f"Stepper, DCGAN-28, {steps} steps: the discriminator's loss over the last quarter"
        findings.add(what, text, "finite", finite)


def _by_hand(game: Adversarial, findings: Findings) -> float:
    """Return how far both players' gradients of ordinary modules under `torch.autocast` are from those in float32."""
    generator, device = torch.Generator().manual_seed(0), findings.device
    state = methods.simultaneous().initial(game, generator)
    batch = {name: tensor.to(device) for name, tensor in game.draw(generator).items()}
    gradients = []
    for rounded in (False, True):
        made, judge = (copy.deepcopy(game.modules[name]) for name in game.players)
        game.write(state, made, judge)
        made, judge = made.to(device), judge.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=rounded):
            fake = judge(made(batch["latent"])).float()
            real = judge(batch["real"]).float()
        losses = softplus(-fake).mean(), softplus(-real).mean() + softplus(fake).mean()
        pieces = torch.autograd.grad(losses[0], list(made.parameters()), retain_graph=True)
        pieces += torch.autograd.grad(losses[1], list(judge.parameters()))
        gradients.append(torch.cat([piece.reshape(-1) for piece in pieces]))
    return relative(*gradients)


@torch.no_grad()
def _apart(game: Adversarial, method: Method, settings: EvaluationSettings, findings: Findings) -> float:
    """Return ‖difference of the moves‖/‖plain move‖ of all players together, after one step of SGD."""
    generator = torch.Generator().manual_seed(0)
    state = method.initial(game, generator)
    drawn = moved(draw(game, method, state, generator), findings.device)
    state, moves = to_device(state, findings.device), []
    require_supported(settings, game, method)
    for one in (EvaluationSettings(), settings):
        after, _ = method.step(game.with_settings(one), state, drawn.batches, drawn.noise)
        moves.append(torch.cat([after.vectors[name] - state.vectors[name] for name in game.players]))
    return relative(*moves)
