"""The conditional GAN: generator and discriminator both receive a label."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from detente.data.base import StoredData
from detente.errors import InvalidValue, require
from detente.game import Batch, Given, named_tensors
from detente.games.adversarial import Adversarial
from detente.state import State


class Conditional(Adversarial):
    """A GAN with labels: the generator maps latents and labels to samples, the discriminator scores samples and labels.

    The losses depend on the scores D(x, y) of real and D(G(z, y′), y′) of generated samples, with y′ uniform over the
    labels.

    The modules are called as `generator(latents, labels)` and `discriminator(samples, labels)`, labels (batch,) int64.
    The generator's labels are drawn for every batch, also with fixed latents. Gradient penalties use the labels of the
    real samples, also where they evaluate the discriminator at generated samples or between real and generated ones.

    Args:
        generator: latents (batch, *latent) and labels to samples (batch, …), a module or a factory.
        discriminator: samples (batch, …) and labels to one score each, a module or a factory, as in `Adversarial`.
        data: real samples with labels 0 … K - 1, as in `Adversarial`.
        latent: length of a latent vector, ≥ 1, or its shape, such as (100, 1, 1). Latents are standard normal.
        objective: losses of both players, a member of `detente.objectives` or its name.
        penalties: one or several members of `detente.penalties`, added to the discriminator's loss.
        batch: samples in a batch, ≥ 1.
        fixed_latents: whether latents come from a fixed set, one for each sample of the data; labels do not.
        filter: a member of `detente.filters`, applied to all samples before the discriminator.
        scores: output of the discriminator: "logits" or "probabilities", as in `Adversarial`.

    Raises:
        InvalidValue: the data have no labels, or `Adversarial` raises it.

    Source: Mirza and Osindero 2014, Conditional Generative Adversarial Nets (arXiv:1411.1784), equation 2.
    """

    @cached_property
    def classes(self) -> int:
        """Number K of labels."""
        count = getattr(self.data, "class_count", None)
        if count is None:
            hint = "Give Arrays(samples, labels), or a Dataset whose items are (sample, label)"
            raise InvalidValue("data", type(self.data).__name__, "data with a label for each sample", hint)
        return count

    @cached_property
    def present(self) -> Tensor:
        """The labels that occur in the data, ascending: all K, unless the data are restricted to some classes."""
        labels = self.data.arrays[1] if isinstance(self.data, StoredData) else None
        return torch.arange(self.classes) if labels is None else labels.unique().cpu()

    @property
    def randomness(self) -> str:
        """Description of what draws random numbers in addition to samples and latents: at least the labels."""
        return super().randomness or "the label of each generated sample, which is drawn for each latent"

    def complete(self, batch: Given, generator: torch.Generator) -> Batch:
        """Return a complete batch from the user's real samples: (samples, labels, …), or a dictionary with "label".

        Raises:
            InvalidValue: there are no labels, they are not labels of the data, or `Adversarial` raises it.
        """
        if not isinstance(batch, dict):
            labelled = isinstance(batch, list | tuple) and len(batch) > 1
            require(labelled, "batch", type(batch).__name__, "(samples, labels), since the game has labels")
        batch = named_tensors(batch, ("real", "label"))
        require("label" in batch, "batch", sorted(batch), "a dictionary with labels under 'label'")
        complete_batch = super().complete(batch, generator)
        label, count = complete_batch["label"], len(complete_batch["latent"])
        one_each = label.shape == (len(complete_batch["real"]),) and not label.is_floating_point()
        require(one_each, "label", f"{tuple(label.shape)} {label.dtype}", "integers (batch,), one per sample")
        least, most = int(label.min()), int(label.max())
        require(0 <= least and most < self.classes, "label", (least, most), f"from 0 to {self.classes - 1}")
        return {"fake_label": self._draw_labels(count, generator), **complete_batch}

    def sample(self, state: State, count: int, generator: torch.Generator) -> Tensor:
        """Return generated samples, (count, …), with uniformly drawn labels, in evaluation mode."""
        latents = torch.randn(count, *self.latent_shape, generator=generator, device=generator.device)
        device = state.vectors["generator"].device
        return self.generate(state, latents.to(device), self._draw_labels(count, generator).to(device))

    def generate(self, state: State, latents: Tensor, labels: Tensor) -> Tensor:
        """Return the samples generated from latents, (count, *latent), and labels, (count,), in evaluation mode."""
        return super().generate(state, latents, labels)

    def scores(self, state: State, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the discriminator's scores, (batch,), with labels, (batch,); default: the mean over all labels."""
        if labels is not None:
            return super().scores(state, samples, labels)
        all_labels = self.present.to(samples.device).unsqueeze(1).expand(-1, len(samples))
        return torch.stack([super(Conditional, self).scores(state, samples, label) for label in all_labels]).mean(0)

    def _draw_labels(self, count: int, generator: torch.Generator) -> Tensor:
        """Return uniformly drawn labels for the generator, (count,)."""
        index = torch.randint(len(self.present), (count,), generator=generator, device=generator.device)
        return self.present.to(generator.device)[index]

    def _conditioning(self, batch: Batch, source: str) -> tuple[Tensor, ...]:
        return (batch["label" if source == "real" else "fake_label"],)

    def _zero_batch(self, count: int, device: torch.device) -> Batch:
        labels = torch.full((count,), self.classes - 1, device=device)
        return {**super()._zero_batch(count, device), "label": labels, "fake_label": labels}
