"""The GAN game: a generator against a discriminator, both modules of the user.

This file also contains all checks of the user's modules and data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from detente.autodiff.exact_derivatives import require_right_gradients
from detente.data.arrays import as_data
from detente.data.base import Data, StoredData
from detente.errors import InvalidValue, require, unknown
from detente.filters.base import Filter
from detente.game import Batch, Buffers, Given, Vectors, named_tensors
from detente.games.networks import Networks
from detente.games.parts import at_step, initial_memory, require_types, updated_memory, with_prefix, without_prefix
from detente.games.scores import Scores, as_logits, mean_of_maps, require_logits, require_probabilities, require_scores
from detente.modules.calling import (
    Build,
    build,
    copied,
    evaluated,
    initialize_lazy_layers,
    is_traceable,
    trainable,
    write,
)
from detente.modules.checks import examine
from detente.modules.net import Net
from detente.modules.randomness import generators_in, seeded
from detente.objectives.base import Objective, ZeroSum
from detente.penalties.base import Penalty
from detente.registry import members
from detente.state import State


class Adversarial(Networks):
    """A GAN: the generator maps latents to samples, the discriminator maps each sample to a score (logit).

    Both players can be any `nn.Module`; they are copied and never changed. A class or another factory is called again
    for every seed, which gives new initial parameters; a module keeps its own parameters. `detente.checks` may warn.

    Args:
        generator: latents (batch, *latent) to samples (batch, …), a module or a factory.
        discriminator: samples (batch, …) to one score each, (batch,) or (batch, 1, …), a module or a factory. A
            discriminator of p samples at a time (PacGAN) returns (batch / p,) scores. It may also return maps of scores
            (PatchGAN), (batch, channels, …), or several outputs in lists, tuples and dictionaries (multi-scale).
        data: real samples: a tensor, an array, a `torch.utils.data.Dataset`, a path, or a member of `detente.data`.
        latent: length of a latent vector, ≥ 1, or its shape, such as (100, 1, 1). Latents are standard normal.
        objective: losses of both players, a member of `detente.objectives` or its name.
        penalties: one or several members of `detente.penalties`, added to the discriminator's loss.
        batch: samples in a batch, ≥ 1.
        fixed_latents: whether latents come from a fixed set, one for each sample of the data, so that the losses are
            finite sums (required by variance-reduced and full-batch methods).
        filter: a member of `detente.filters`, applied to real and generated samples before the discriminator, also
            inside penalties, but not in the method `scores`. With several strengths, losses and penalties are averaged
            over the strengths.
        scores: output of the discriminator: "logits", unbounded, or "probabilities" in [0, 1], as after a sigmoid.
            Probabilities are converted to logits log(p/(1 − p)), with p clamped to [ε, 1 − ε] for the precision ε of
            its dtype. The gradient of clamped values is 0, as for a saturated sigmoid.

    Raises:
        InvalidValue: the generator's output and the data differ in shape, the discriminator does not return one score
            per sample, its scores are probabilities instead of logits or lie outside [0, 1], the batch is larger than
            the set, or an argument is invalid.

    Source: Goodfellow et al. 2014, Generative Adversarial Nets (arXiv:1406.2661).
    """

    def __init__(
        self,
        generator: Build,
        discriminator: Build,
        data: Data | object,
        latent: int | tuple[int, ...] = 128,
        objective: Objective | str = "non_saturating",
        penalties: Penalty | Sequence[Penalty] = (),
        batch: int = 64,
        fixed_latents: bool = False,
        filter: Filter | None = None,
        scores: Scores = "logits",
    ) -> None:
        self.arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        batch = require_types(batch, latent, objective, penalties, filter)
        self.latent_shape = (latent,) if isinstance(latent, int) else tuple(latent)
        positive = len(self.latent_shape) > 0 and all(isinstance(n, int) and n >= 1 for n in self.latent_shape)
        require(positive, "latent", latent, "an integer ≥ 1, or a shape, e.g. (100, 1, 1)")
        require(scores in get_args(Scores), "scores", scores, " or ".join(map(repr, get_args(Scores))))
        require(batch >= 1, "batch", batch, "an integer ≥ 1")
        self.data = as_data(data)
        if self.data.size is not None:
            require(batch <= self.data.size, "batch", batch, f"at most the {self.data.size} samples of the set")
        if isinstance(objective, str) and objective not in members("objectives"):
            raise unknown("objective", objective, members("objectives"))
        self.objective: Objective = members("objectives")[objective]() if isinstance(objective, str) else objective
        self.penalties = (penalties,) if isinstance(penalties, Penalty) else tuple(penalties)
        self.latent, self.batch = latent, batch
        self.score_kind: Scores = scores
        finite = isinstance(self.data, StoredData) or not fixed_latents
        require(finite, "fixed_latents", fixed_latents, "False, since this data is not a finite set of samples")
        self.fixed_latents = fixed_latents
        if filter is not None:
            filter.check(self.data.shape)
        self.filter = filter
        parts = (self.objective, *self.penalties, *([] if filter is None else [filter]))
        self.scheduled = any(part.scheduled for part in parts)
        self.zero_sum = self.objective.zero_sum and not self.penalties
        self._set_players({"generator": generator, "discriminator": discriminator})
        self.stochastic = self._check()
        like = next(iter(trainable(self.modules["discriminator"]).values()))
        self.memory = initial_memory(self.penalties, self.filter, like)
        pure = not self.stochastic and not any(self.moving.values())
        self.traceable = pure and all(is_traceable(module) for module in self.modules.values())
        from detente.checks.at_construction import warn_of_findings  # checks build on games

        warn_of_findings(self)

    @property
    def size(self) -> int | None:
        """Number of pairs of a sample and a latent if both sets are fixed, otherwise None."""
        return self.data.size if self.fixed_latents else None

    @property
    def randomness(self) -> str:
        """Description of what draws random numbers in addition to samples and latents; empty if nothing does."""
        if self.stochastic:
            return "a layer that draws random numbers (dropout)"
        if self.memory:
            return f"memory, {', '.join(self.memory)}, which changes from evaluation to evaluation"
        if self._depends_on_pairing():
            return f"the objective {type(self.objective).__name__}, which pairs samples with latents at random"
        shape = torch.Size((1, *self.data.shape))
        drawing = [type(part).__name__ for part in self.penalties if part.draw(shape, torch.Generator())]
        if self.filter is not None and self.filter.draw(shape, torch.Generator()):
            return f"the filter {type(self.filter).__name__}"
        return f"the penalty {drawing[0]}" if drawing else ""

    @cached_property
    def latents(self) -> Tensor:
        """The fixed set of latents, (size, *latent), the same for every seed."""
        assert self.size is not None
        return torch.randn(self.size, *self.latent_shape, generator=torch.Generator().manual_seed(0))

    def parts(self, count: int | None = None) -> Iterator[Batch]:
        """Yield the whole set once, the n-th sample with the n-th latent, in batches of `count` pairs."""
        if self.size is None:
            raise InvalidValue("fixed_latents", False, "True, with a stored set of samples, for finite sums as losses")
        generator = torch.Generator().manual_seed(0)
        assert isinstance(self.data, StoredData)
        for indices in torch.arange(self.size).split(count or self.batch):
            yield self.complete({**self.data.take(indices), "latent": self.latents[indices]}, generator)

    def _built(self, generator: torch.Generator) -> dict[str, nn.Module]:
        return {name: self._build(name, generator) for name in self.builders}

    def _build(self, name: str, generator: torch.Generator) -> nn.Module:
        module, zero_batch = build(name, self.builders[name], generator), self._zero_batch(2, torch.device("cpu"))
        inputs = (
            (zero_batch["latent"], *self._conditioning(zero_batch, "fake")),
            (zero_batch["real"], *self._conditioning(zero_batch, "real")),
        )
        return initialize_lazy_layers(name, module, generator, inputs[name == "discriminator"])

    def draw(self, generator: torch.Generator) -> Batch:
        """Return real samples (batch, …), latents (batch, *latent), and the penalties' random numbers."""
        return self.complete(self.data.draw(self.batch, generator), generator)

    def complete(self, batch: Given, generator: torch.Generator) -> Batch:
        """Return a complete batch from the user's real samples.

        Args:
            batch: samples, (samples, labels, …), or a dictionary with "real"; tensors or numpy arrays.
            generator: draws latents and other random numbers that the batch lacks.

        Raises:
            InvalidValue: there are no samples, or their shape is not that of the data.
        """
        batch = named_tensors(batch, ("real",))
        require("real" in batch, "batch", sorted(batch), "a dictionary with the samples under 'real'")
        real, shape = batch["real"], tuple(batch["real"].shape)
        require(len(shape) > 0 and shape[0] > 0, "batch", shape, "at least one sample")
        require(shape[1:] == self.data.shape, "batch", shape, f"(batch, *{self.data.shape})")
        require(real.is_floating_point(), "batch", real.dtype, "floating-point samples, images in [-1, 1]")
        if "latent" in batch:
            latent = batch["latent"]
        elif self.fixed_latents:
            latent = self.latents[torch.randint(len(self.latents), (len(real),), generator=generator)]
        else:
            latent = torch.randn(real.shape[0], *self.latent_shape, generator=generator, device=generator.device)
        complete_batch = {**batch, "latent": latent}
        for index, penalty in enumerate(self.penalties):
            noise = penalty.draw(real.shape, generator)
            complete_batch |= with_prefix(f"penalty{index}.", noise)
        if self.filter is not None:
            for source, count in (("real", len(real)), ("fake", len(latent))):
                noise = self.filter.draw(torch.Size((count, *self.data.shape)), generator)
                complete_batch |= with_prefix(f"filter.{source}.", noise)
        if self.stochastic:
            complete_batch["seed"] = torch.randint(2**62, (), generator=generator, device=generator.device)
        return complete_batch

    def _terms(self, net: Net, batch: Batch, players: tuple[str, ...]) -> dict[str, Any]:
        """Return the losses of `players`, without terms; scores that they do not need are not computed."""
        real = batch["real"].to(net._vectors["discriminator"].dtype)
        parts = at_step(self.objective, self.penalties, batch, net.memory, self.scheduled, real.dtype)
        latents = batch["latent"].to(net._vectors["generator"].dtype)
        fake = net.generator(latents, *self._conditioning(batch, "fake")).to(real.dtype)
        by_strength: list[dict[str, Tensor]] = []
        for strength in self._strengths(net, batch, real.dtype):
            by_strength.append(self._losses_at(net, real, fake, batch, strength, players, *parts))
        if len(by_strength) == 1:
            return by_strength[0]
        return {name: torch.stack([losses[name] for losses in by_strength]).mean(0) for name in by_strength[0]}

    def _losses_at(
        self,
        net: Net,
        real: Tensor,
        fake: Tensor,
        batch: Batch,
        strength: float | Tensor | None,
        requested: tuple[str, ...],
        objective: Objective,
        penalties: Sequence[Penalty],
    ) -> dict[str, Tensor]:
        """Return the losses for samples filtered with one strength."""
        losses: dict[str, Tensor] = {}
        filtered, score, real_scores = partial(self._filtered, batch, strength), net.discriminator, None
        real_conditioning, fake_conditioning = self._conditioning(batch, "real"), self._conditioning(batch, "fake")
        if "discriminator" in requested or objective.generator_needs_real:
            buffers = net.buffers["discriminator"]
            real_scores = self._as_logits(score(filtered("real", real), *real_conditioning))
            if "discriminator" not in requested and objective.zero_sum:
                # When only the generator moves, a zero-sum loss uses real samples only for its value. They do not
                # change the discriminator's buffers, since an ordinary loop does not use them in the generator's step.
                net.buffers["discriminator"] = buffers
        fake_scores = self._as_logits(score(filtered("fake", fake), *fake_conditioning))
        shared = len(requested) == 2 and type(objective).generator_loss is ZeroSum.generator_loss  # −L on L's graph
        if "generator" in requested and not shared:
            losses["generator"] = objective.generator_loss(real_scores, fake_scores)
        if "discriminator" in requested:
            assert real_scores is not None
            loss = objective.discriminator_loss(real_scores, fake_scores)
            losses |= {"generator": -loss} if shared else {}

            def scores_of(known: dict[int, Any], x: Tensor) -> Any:
                # A penalty's calls of the discriminator do not change its buffers.
                if id(x) in known:
                    return known[id(x)]
                return self._as_logits(score.fixed(filtered("real", x), *real_conditioning))

            of_batch = {id(real): real_scores, id(fake): fake_scores}
            for index, penalty in enumerate(penalties):
                noise = without_prefix(f"penalty{index}.", batch)
                known = {} if penalty.differentiates else of_batch
                loss = loss + penalty(partial(scores_of, known), real, fake, noise)
            losses["discriminator"] = loss
            if self.memory:
                net.memory = updated_memory(penalties, self.filter, net.memory, real_scores, fake_scores)
        return losses

    def _strengths(self, net: Net, batch: Batch, dtype: torch.dtype) -> Sequence[float | Tensor | None]:
        """Return the filter's strengths at the batch's step; (None,) if there is no filter."""
        if self.filter is None:
            return (None,)
        return self.filter.at(batch.get("t"), dtype, without_prefix("filter.", net.memory))

    def _filtered(self, batch: Batch, strength: float | Tensor | None, source: str, samples: Tensor) -> Tensor:
        """Return samples after the filter, as passed to the discriminator."""
        if self.filter is None or strength is None:
            return samples
        return self.filter(samples, without_prefix(f"filter.{source}.", batch), strength)

    def sample(self, state: State, count: int, generator: torch.Generator) -> Tensor:
        """Return generated samples, (count, …), from the generator in evaluation mode. The state is not changed."""
        latents = torch.randn(count, *self.latent_shape, generator=generator, device=generator.device)
        return self.generate(state, latents.to(state.vectors["generator"].device))

    @torch.no_grad()
    def generate(self, state: State, latents: Tensor, *conditioning: Tensor) -> Tensor:
        """Return the samples generated from latents, (count, *latent), in evaluation mode."""
        parts = zip(*(inputs.split(512) for inputs in (latents, *conditioning)), strict=True)
        with self._evaluated("generator", state) as evaluate:
            return torch.cat([evaluate(*part) for part in parts])

    @torch.no_grad()
    def scores(self, state: State, samples: Tensor, *conditioning: Tensor) -> Tensor:
        """Return each sample's score (logit), (batch,), in evaluation mode, unfiltered. The state is not changed.

        Samples that the discriminator scores together (PacGAN) all get their common score. Of a map, the score is the
        mean over its elements; of several maps, the mean of their scores.
        """
        with self._evaluated("discriminator", state) as evaluate:
            scores = mean_of_maps(self._as_logits(evaluate(samples, *conditioning)))
        return scores if len(scores) == len(samples) else scores.repeat_interleave(len(samples) // len(scores))

    @contextmanager
    def _evaluated(self, player: str, state: State) -> Iterator[Callable[..., Tensor]]:
        """Yield a function that calls a player's module in evaluation mode, always with the same random numbers."""
        vector, module = state.vectors[player], self.modules[player]
        with (
            seeded(0, vector.device, self.sources) if self.stochastic else nullcontext(),
            evaluated(module, self.layouts[player], vector, state.buffers[player]) as evaluate,
        ):
            yield lambda x, *conditioning: evaluate(x.to(vector.dtype), *conditioning)

    def write(self, state: State, generator: nn.Module, discriminator: nn.Module) -> None:
        """Write a state's parameters and buffers into ordinary modules of the same architecture."""
        for name, module in (("generator", generator), ("discriminator", discriminator)):
            write(module, self.layouts[name], state.vectors[name], state.buffers[name], name)

    def _conditioning(self, batch: Batch, source: str) -> tuple[Tensor, ...]:
        """Return the modules' additional inputs, such as labels, for "real" or "fake" samples; none by default."""
        del batch, source
        return ()

    def _zero_batch(self, count: int, device: torch.device) -> Batch:
        """Return a batch of zeros, for checks of the modules."""
        shapes = {"latent": self.latent_shape, "real": self.data.shape}
        return {name: torch.zeros(count, *shape, device=device) for name, shape in shapes.items()}

    def _call(self, player: str, vectors: Vectors, buffers: Buffers, x: Tensor, *conditioning: Tensor) -> Any:
        return self._net(vectors, buffers)[player](x.to(vectors[player].dtype), *conditioning)

    def _as_logits(self, scores: Any) -> Any:
        return as_logits(scores, self.score_kind)

    def _depends_on_pairing(self) -> bool:
        """Whether the objective depends on how real and fake scores are paired."""
        real, fake = torch.tensor([[-1.0, 0.5, 2.0], [0.3, -2.0, 1.0]], dtype=torch.float64)
        objective = self.objective.at(torch.zeros(()))
        losses = (objective.discriminator_loss, objective.generator_loss)
        return any(abs(float(loss(real, fake) - loss(real, fake.roll(1)))) > 1e-9 for loss in losses)

    def _check(self) -> bool:
        """Call and check both modules; return whether they draw random numbers."""
        self.modules = self._built(torch.Generator())
        self._set_layouts()
        vectors, buffers = self.initial(torch.Generator())
        device = vectors["generator"].device
        zero_batch = self._zero_batch(self.batch, device)  # the full batch size, since some modules only accept that
        uncalled = {name: copied(module) for name, module in self.modules.items()}
        with torch.no_grad(), seeded(0, device):
            fake = self._call_or_explain(
                "generator", vectors, buffers, zero_batch["latent"], *self._conditioning(zero_batch, "fake")
            )
            scores = self._call_or_explain(
                "discriminator", vectors, buffers, zero_batch["real"], *self._conditioning(zero_batch, "real")
            )
        require(isinstance(fake, Tensor), "generator", type(fake).__name__, "a module that returns one tensor")
        require(
            tuple(fake.shape[1:]) == self.data.shape,
            "generator",
            f"output of shape {tuple(fake.shape)}",
            f"samples of the data's shape, (batch, {', '.join(map(str, self.data.shape))})",
        )
        require_scores(scores, self.batch)
        stochastic = False
        for player, source, name in (("generator", "fake", "latent"), ("discriminator", "real", "real")):
            require_right_gradients(player, self.modules[player])
            inputs = (zero_batch[name], *self._conditioning(zero_batch, source))
            traits = examine(player, uncalled[player], self.layouts[player], self.builders[player], *inputs, noise=True)
            self.moving[player], stochastic = traits.moving, stochastic or traits.stochastic
            self.sources += [*traits.sources, *generators_in(self.modules[player])]
        self._check_scores(vectors, buffers, zero_batch, len(tree_leaves(scores)))
        return stochastic

    def _check_scores(self, vectors: Vectors, buffers: Buffers, zero_batch: Batch, outputs: int) -> None:
        """Raise an error if the scores of samples at several scales contradict the argument `scores`."""
        generator = torch.Generator(zero_batch["real"].device).manual_seed(0)
        module, conditioning = self.modules["discriminator"], self._conditioning(zero_batch, "real")

        def scores_at(scale: float, index: int) -> Tensor:
            x = scale * torch.empty_like(zero_batch["real"]).normal_(generator=generator)
            vectors_with_gradient = {**vectors, "discriminator": vectors["discriminator"].clone().requires_grad_()}
            with seeded(0, x.device):
                scores = self._call("discriminator", vectors_with_gradient, buffers, x, *conditioning)
            return tree_leaves(scores)[index]

        for index in range(outputs):
            if self.score_kind == "probabilities":
                require_probabilities(module, partial(scores_at, index=index))
            else:
                require_logits(module, partial(scores_at, index=index), self.objective)

    def _call_or_explain(self, player: str, vectors: Vectors, buffers: Buffers, *inputs: Tensor) -> Any:
        try:
            return self._call(player, vectors, buffers, *inputs)
        except Exception as error:
            allowed = f"a module that accepts input of shape {', '.join(str(tuple(x.shape)) for x in inputs)}"
            first = str(error).partition("\n")[0]
            raise InvalidValue(player, type(self.modules[player]).__name__, allowed, first) from error
