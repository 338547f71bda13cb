"""bfloat16, channels-last images and accumulated batches, compared with the float32 step on the same batch."""

from __future__ import annotations

import copy

import torch
from torch.nn.functional import softplus

from benchmarks.gpu.agreement import without_tf32
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.games import dcgan, finite_ring, relative_difference, to_device
from detente import methods
from detente.game import EvaluationSettings
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.optimizers.sgd import SGD
from detente.training.settings import require_supported
from detente.training.step import draw, state_to_device
from detente.training.stepper import Stepper

BFLOAT16_NAMES = ("bfloat16", "bfloat16, channels last")
SETTINGS = {
    "channels last": EvaluationSettings(channels_last=True),
    "bfloat16": EvaluationSettings(precision="bfloat16"),
    "bfloat16, channels last": EvaluationSettings(precision="bfloat16", channels_last=True),
}
AS_BY_HAND = 1.5  # tolerance in units of the difference of hand-written bfloat16 gradients


def cheaper_arithmetic(findings: Findings) -> None:
    """Compare the updates of cheaper steps with the plain update, and bfloat16 with a hand-written gradient."""
    without_tf32()
    width, batch, steps = (32, 64, 200) if findings.gpu else (4, 8, 3)
    image_game = dcgan(28, width, batch)
    bfloat16_difference = _hand_written_difference(image_game, findings)
    findings.add(
        "DCGAN-28: gradients by hand, under torch.autocast", f"{bfloat16_difference:.1e}", detail="from float32's"
    )
    for name, settings in SETTINGS.items():
        for method_name in ("simultaneous", "alternating", "consensus"):
            title = f"DCGAN-28, {method_name}, {name}: one step's move"
            with findings.catch_errors(title):
                difference = _move_difference(
                    image_game, methods.names()[method_name](optimizer=SGD(0.1)), settings, findings
                )
                if name in BFLOAT16_NAMES and method_name != "simultaneous":
                    findings.add(title, f"{difference:.1e}")
                else:
                    findings.add_difference(
                        title, difference, AS_BY_HAND * bfloat16_difference if name in BFLOAT16_NAMES else 1e-3
                    )
    for method_name in ("alternating", "consensus"):
        title = f"ring, {method_name}, in two parts (accumulate): one step's move"
        with findings.catch_errors(title):
            method = methods.names()[method_name](optimizer=SGD(0.1))
            difference = _move_difference(
                finite_ring(torch.float32), method, EvaluationSettings(accumulate=2), findings
            )
            findings.add_difference(title, difference, 1e-4)
    with findings.catch_errors("Stepper in bfloat16"):
        losses = {}
        for precision in ("float32", "bfloat16"):
            stepper = Stepper(
                dcgan(28, width, batch), methods.alternating(), precision=precision, device=findings.device
            )
            infos = [stepper.step() for _ in range(steps)]
            mean_loss = torch.stack([info.losses["discriminator"] for info in infos[-steps // 4 :]]).mean()
            losses[precision] = float(mean_loss)
        loss_text = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        finite = all(loss == loss and abs(loss) < 1e3 for loss in losses.values())
        title = f"Stepper, DCGAN-28, {steps} steps: the discriminator's loss over the last quarter"
        findings.add(title, loss_text, "finite", finite)


def _hand_written_difference(game: Adversarial, findings: Findings) -> float:
    """Return the relative difference of hand-written gradients under `torch.autocast` from those in float32."""
    generator, device = torch.Generator().manual_seed(0), findings.device
    state = methods.simultaneous().initial(game, generator)
    batch = {name: tensor.to(device) for name, tensor in game.draw(generator).items()}
    gradients = []
    for use_bfloat16 in (False, True):
        generator_module, discriminator_module = (copy.deepcopy(game.modules[name]) for name in game.players)
        game.write(state, generator_module, discriminator_module)
        generator_module, discriminator_module = generator_module.to(device), discriminator_module.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16):
            fake = discriminator_module(generator_module(batch["latent"])).float()
            real = discriminator_module(batch["real"]).float()
        losses = softplus(-fake).mean(), softplus(-real).mean() + softplus(fake).mean()
        gradient_parts = torch.autograd.grad(losses[0], list(generator_module.parameters()), retain_graph=True)
        gradient_parts += torch.autograd.grad(losses[1], list(discriminator_module.parameters()))
        gradients.append(torch.cat([piece.reshape(-1) for piece in gradient_parts]))
    return relative_difference(*gradients)


@torch.no_grad()
def _move_difference(game: Adversarial, method: Method, settings: EvaluationSettings, findings: Findings) -> float:
    """Return ‖difference of the updates‖/‖plain update‖ over all players, after one step of SGD."""
    generator = torch.Generator().manual_seed(0)
    state = method.initial(game, generator)
    random_input = to_device(draw(game, method, state, generator), findings.device)
    state, moves = state_to_device(state, findings.device), []
    require_supported(settings, game, method)
    for candidate in (EvaluationSettings(), settings):
        next_state, _ = method.step(game.with_settings(candidate), state, random_input.batches, random_input.noise)
        moves.append(torch.cat([next_state.vectors[name] - state.vectors[name] for name in game.players]))
    return relative_difference(*moves)
