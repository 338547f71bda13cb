"""Other libraries and détente on job T; runs in its own environment: `make bench-peers`.

Each peer is a function that returns a step and the number of training steps in one call. A peer that cannot be
imported or that fails is skipped, with the reason in the table.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # détente is not installed there
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ["TENSORBOARD_LOGGING"] = os.environ["CONSOLE_LOGGING"] = "0"  # options of torchgan

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import softplus  # noqa: E402

from benchmarks import page, peers_jax, training_steps  # noqa: E402
from benchmarks.job_t import BATCH, LATENT, RATE, game  # noqa: E402
from benchmarks.row import Row  # noqa: E402
from benchmarks.timing import interleave, threads  # noqa: E402
from detente import methods  # noqa: E402
from detente.optimizers.adam import Adam  # noqa: E402
from detente.training.step import Steps, draw  # noqa: E402

Peer = tuple[Callable[[], object], int]
JOB = game()
BETAS = (0.5, 0.999)
DECLARED_LIBRARIES: list[torch.library.Library] = []  # registrations end when these objects are deleted


def modules() -> tuple[nn.Module, nn.Module]:
    """Return fresh networks of job T."""
    return copy.deepcopy(JOB.modules["generator"]), copy.deepcopy(JOB.modules["discriminator"])


def batches() -> Callable[[], Tensor]:
    """Return a source of real batches that are drawn beforehand; every peer gets these."""
    source = torch.Generator().manual_seed(0)
    batch_cycle = itertools.cycle([JOB.data.draw(BATCH, source)["real"] for _ in range(64)])
    return lambda: next(batch_cycle)


def zero_sum(generator: nn.Module, discriminator: nn.Module, real: Tensor) -> Tensor:
    """Return the discriminator's loss, which the generator maximises."""
    fake = generator(torch.randn(BATCH, LATENT))
    return softplus(-discriminator(real)).mean() + softplus(discriminator(fake)).mean()


def loop() -> Peer:
    """The hand-written loop."""
    return training_steps.loop_step(JOB, "alternating", RATE), 1


def detente_eager() -> Peer:
    """détente's eager steps."""
    return training_steps.detente_steps(JOB, "alternating", rate=RATE), 1


def detente_compiled() -> Peer:
    """détente's compiled steps, one per graph."""
    return training_steps.detente_steps(JOB, "alternating", compiled=True, rate=RATE), 1


def detente_compiled_ten() -> Peer:
    """détente's compiled steps, ten per graph."""
    return training_steps.detente_steps(JOB, "alternating", compiled=True, chunk=10, rate=RATE), 10


def torchgan() -> Peer:
    """Torchgan's Trainer.train_iter, with prepared batches and one latent per sample."""
    _silence_torchvision()
    from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss
    from torchgan.models import Discriminator, Generator
    from torchgan.trainer import Trainer

    generator, discriminator = modules()

    class G(Generator):
        def __init__(self) -> None:
            super().__init__(LATENT)
            self.net = generator

        def forward(self, z: Tensor) -> Tensor:
            return self.net(z)

    class D(Discriminator):
        def __init__(self) -> None:
            super().__init__(2)
            self.net = discriminator

        def forward(self, x: Tensor, feature_matching: bool = False) -> Tensor:
            return self.net(x)

    def entry(kind: type) -> dict:
        return {"name": kind, "optimizer": {"name": torch.optim.Adam, "args": {"lr": RATE, "betas": BETAS}}}

    folder, source = tempfile.mkdtemp(), batches()
    trainer = Trainer(
        {"generator": entry(G), "discriminator": entry(D)},
        [MinimaxDiscriminatorLoss(), MinimaxGeneratorLoss()],
        device=torch.device("cpu"), checkpoints=f"{folder}/m/m", recon=f"{folder}/r", sample_size=8,
    )  # fmt: skip
    trainer.batch_size = BATCH
    if not hasattr(trainer, "logger"):
        from torchgan.logging.logger import Logger

        trainer.logger = Logger(trainer, losses_list=list(trainer.losses.values()))

    def step() -> None:
        trainer.real_inputs = source()
        trainer.train_iter()

    return step, 1


def vegans() -> Peer:
    """The body of vegans' VanillaGAN.fit with prepared batches (fit calls an iterator method that torch removed)."""
    _silence_torchvision()
    from vegans.GAN import VanillaGAN

    generator, discriminator = modules()
    with contextlib.redirect_stdout(io.StringIO()):
        gan = VanillaGAN(
            generator.layers, nn.Sequential(*discriminator.layers, nn.Sigmoid()), x_dim=(2,), z_dim=LATENT,
            optim=torch.optim.Adam, folder=None, device="cpu",
            optim_kwargs={name: {"lr": RATE, "betas": BETAS} for name in ("Generator", "Adversary")},
        )  # fmt: skip
    gan.train()
    source = batches()

    def step() -> None:
        real, latents = source(), gan.sample(n=BATCH)
        for name in gan.neural_nets:
            gan._losses = gan.calculate_losses(X_batch=real, Z_batch=latents, who=name)
            gan._zero_grad(who=name)
            gan._backward(who=name)
            gan._step(who=name)

    return step, 1


def detente_extragradient(compiled: bool = False) -> Peer:
    """détente's ExtraAdam, on the zero-sum losses that the other game optimizers use here."""
    zero_sum_game = game("minimax")
    method, generator = methods.extragradient(optimizer=Adam(RATE, BETAS)), torch.Generator().manual_seed(0)
    state = method.initial(zero_sum_game, generator)
    steps = Steps(zero_sum_game, method, compiled=compiled)

    def step() -> None:
        nonlocal state
        (state,), _ = steps([state], [[draw(zero_sum_game, method, state, generator)]])

    return step, 1


def detente_extragradient_compiled() -> Peer:
    """détente's ExtraAdam, compiled, one step per graph."""
    return detente_extragradient(compiled=True)


def cooper_extra_adam() -> Peer:
    """Cooper's ExtraAdam, both players at once."""
    from cooper.optim import ExtraAdam

    generator, discriminator = modules()
    source = batches()
    players = [(m, ExtraAdam(m.parameters(), lr=RATE, betas=BETAS)) for m in (generator, discriminator)]

    def set_gradients() -> None:
        loss = zero_sum(generator, discriminator, source())
        parameters = [list(module.parameters()) for module, _ in players]
        gradients = torch.autograd.grad(loss, [*parameters[0], *parameters[1]])
        for index, (parameter, gradient) in enumerate(zip([*parameters[0], *parameters[1]], gradients, strict=True)):
            parameter.grad = -gradient if index < len(parameters[0]) else gradient

    def step() -> None:
        set_gradients()
        for _, optimizer in players:
            optimizer.extrapolation()
        set_gradients()
        for _, optimizer in players:
            optimizer.step()

    return step, 1


def cgds_acgd() -> Peer:
    """CGDs' ACGD, which solves a linear system by conjugate gradients in every step."""
    from CGDs import ACGD

    generator, discriminator = modules()
    source = batches()
    optimizer = ACGD(generator.parameters(), discriminator.parameters(), lr_max=RATE, lr_min=RATE)

    def step() -> None:
        optimizer.step(loss=zero_sum(generator, discriminator, source()))

    return step, 1


def torchopt_unrolled() -> Peer:
    """Torchopt's differentiable SGD: the generator's gradient goes through five discriminator steps."""
    import torchopt

    generator, discriminator = modules()
    source = batches()
    inner = torchopt.MetaSGD(discriminator, lr=RATE)
    outer_g = torch.optim.Adam(generator.parameters(), lr=RATE, betas=BETAS)
    outer_d = torch.optim.Adam(discriminator.parameters(), lr=RATE, betas=BETAS)

    def step() -> None:
        before = torchopt.extract_state_dict(discriminator, by="reference", detach_buffers=True)
        before_inner = torchopt.extract_state_dict(inner, by="reference")
        for _ in range(5):
            inner.step(zero_sum(generator, discriminator, source()))
        loss = softplus(-discriminator(generator(torch.randn(BATCH, LATENT)))).mean()
        outer_g.zero_grad()
        loss.backward()
        outer_g.step()
        torchopt.recover_state_dict(discriminator, before)
        torchopt.recover_state_dict(inner, before_inner)
        outer_d.zero_grad()
        zero_sum(generator, discriminator, source()).backward()
        outer_d.step()

    return step, 1


PEERS: dict[str, Callable[[], Peer]] = {
    "hand-written PyTorch loop, alternating Adam": loop,
    "détente, eager": detente_eager,
    "détente, compiled": detente_compiled,
    "détente, compiled, ten steps a graph": detente_compiled_ten,
    "torchgan `Trainer`": torchgan,
    "vegans `VanillaGAN`": vegans,
    "JAX, optax Adam, one step a call (`jit`)": lambda: peers_jax.adam(1),
    "JAX, optax Adam, 100 steps a call (`lax.scan`)": lambda: peers_jax.adam(100),
    "détente, extragradient with Adam, eager": detente_extragradient,
    "détente, extragradient with Adam, compiled": detente_extragradient_compiled,
    "cooper `ExtraAdam`": cooper_extra_adam,
    "CGDs `ACGD`": cgds_acgd,
    "torchopt, generator through five unrolled steps": torchopt_unrolled,
}


def main() -> int:
    """Measure all peers in one process, interleaved, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; the page says so")
    parser.add_argument(
        "--write", action="store_true", help="also write docs/benchmarks.md and benchmarks/results.json"
    )
    options = parser.parse_args()
    quick = options.quick
    start, environment = time.perf_counter(), page.machine()
    with threads(1):
        peers, skip_reasons = {}, {}
        for name, make in PEERS.items():
            if quick and "ten steps" in name:
                continue
            try:
                step, count = make()
                step()
                peers[name] = step, count
            except Exception as error:  # the row of the peer shows the error
                skip_reasons[name] = f"skipped: {type(error).__name__}: {str(error).partition(chr(10))[0][:120]}"
            print(f"{name}: {skip_reasons.get(name, 'ready')}", flush=True)
        timing = interleave({name: step for name, (step, _) in peers.items()}, rounds=7 if quick else 25)
    reference, rows = next(iter(PEERS)), []
    for name in PEERS:
        if name in peers:
            count = peers[name][1]
            ratio = timing.ratio(name, reference).times(1 / count).inverse()
            rows.append(Row.of(name, ratio, sense="at least", detail=f"{count / timing.median(name):.0f} steps/s"))
        elif name in skip_reasons:
            rows.append(Row(name, float("nan"), 0.0, 0.0, detail=skip_reasons[name]))
    for row in rows:
        print(f"{row.what}: {row.median:.2f} ({row.low:.2f}–{row.high:.2f})  {row.detail}")
    pages = page.keep("peers", rows, quick, environment, time.perf_counter() - start, options.write)
    print(f"written: {', '.join(str(path.relative_to(page.ROOT)) for path in pages)}")
    return 0


def _silence_torchvision() -> None:
    """Declare two operators that importing torchvision requires and the CPU build lacks."""
    if not DECLARED_LIBRARIES:
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        DECLARED_LIBRARIES.append(library)


if __name__ == "__main__":
    sys.exit(main())
