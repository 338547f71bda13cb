"""A generator against a discriminator, both told a label: the conditional GAN."""

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

    Losses of the scores D(x, y) of real samples and D(G(z, y′), y′) of generated ones, y′ uniform over the labels.

    The modules are called `generator(latents, labels)` and `discriminator(samples, labels)`, labels (batch,) int64. The
    asked-for labels are drawn anew for every batch, also beside fixed latents. A penalty looks at the slope of the
    scores beside the labels of the real samples, wherever it looks: on a line from a real to a generated sample, or at
    a generated one.

    Args:
        generator: latents (batch, *latent) and labels to samples (batch, …), a module or a factory.
        discriminator: samples (batch, …) and labels to one score each, a module or a factory, as in `Adversarial`.
        data: real samples with labels 0 … K - 1, as in `Adversarial`.
        latent: length of a latent vector, standard normal, ≥ 1, or its shape, such as (100, 1, 1).
        objective: what both minimise, a member of `detente.objectives` or its name.
        penalties: one or several members of `detente.penalties`, added to the discriminator's loss.
        batch: samples in a batch, ≥ 1.
        fixed_latents: latents come from a fixed set, one for each sample of the data; labels do not.
        filter: a member of `detente.filters`, through which the discriminator sees all samples.
        scores: what the discriminator returns: "logits" or "probabilities", as in `Adversarial`.

    Raises:
        InvalidValue: data without labels, and whatever `Adversarial` refuses.

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
        """The labels that samples have, ascending: all K, but for data restricted to some classes."""
        labels = self.data.arrays[1] if isinstance(self.data, StoredData) else None
        return torch.arange(self.classes) if labels is None else labels.unique().cpu()

    @property
    def randomness(self) -> str:
        """What draws more than samples and latents, in words: the labels at least."""
        return super().randomness or "a label asked of the generator, drawn anew for each latent"

    def complete(self, batch: Given, generator: torch.Generator) -> Batch:
        """Return a whole batch made of the user's real samples: (samples, labels, …), or a dictionary with "label".

        Raises:
            InvalidValue: there are no labels, or others than the data's, and whatever `Adversarial` refuses.
        """
        if not isinstance(batch, dict):
            labelled = isinstance(batch, list | tuple) and len(batch) > 1
            require(labelled, "batch", type(batch).__name__, "(samples, labels), since the game has labels")
        batch = named_tensors(batch, ("real", "label"))
        require("label" in batch, "batch", sorted(batch), "a dictionary with labels under 'label'")
        whole = super().complete(batch, generator)
        label, count = whole["label"], len(whole["latent"])
        one_each = label.shape == (len(whole["real"]),) and not label.is_floating_point()
        require(one_each, "label", f"{tuple(label.shape)} {label.dtype}", "(batch,) whole numbers, one a sample")
        least, most = int(label.min()), int(label.max())
        require(0 <= least and most < self.classes, "label", (least, most), f"from 0 to {self.classes - 1}")
        return {"fake_label": self._asked(count, generator), **whole}

    def sample(self, state: State, count: int, generator: torch.Generator) -> Tensor:
        """Return generated samples, (count, …), of labels drawn uniformly, from the generator in evaluation mode."""
        latents = torch.randn(count, *self.latent_shape, generator=generator, device=generator.device)
        device = state.vectors["generator"].device
        return self.generate(state, latents.to(device), self._asked(count, generator).to(device))

    def generate(self, state: State, latents: Tensor, labels: Tensor) -> Tensor:
        """Return the samples of given latents, (count, *latent), and labels, (count,), in evaluation mode."""
        return super().generate(state, latents, labels)

    def scores(self, state: State, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the discriminator's scores, (batch,), beside labels, (batch,); without these, the mean beside each."""
        if labels is not None:
            return super().scores(state, samples, labels)
        every = self.present.to(samples.device).unsqueeze(1).expand(-1, len(samples))
        return torch.stack([super(Conditional, self).scores(state, samples, label) for label in every]).mean(0)

    def _asked(self, count: int, generator: torch.Generator) -> Tensor:
        """Return labels to ask the generator for, (count,), each as likely as another."""
        index = torch.randint(len(self.present), (count,), generator=generator, device=generator.device)
        return self.present.to(generator.device)[index]

    def _conditioning(self, batch: Batch, source: str) -> tuple[Tensor, ...]:
        return (batch["label" if source == "real" else "fake_label"],)

    def _blank(self, count: int, device: torch.device) -> Batch:
        labels = torch.full((count,), self.classes - 1, device=device)
        return {**super()._blank(count, device), "label": labels, "fake_label": labels}
