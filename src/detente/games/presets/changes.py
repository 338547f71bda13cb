"""Any GAN with some of its settings replaced."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from detente.data.shuffled import Shuffled
from detente.errors import InvalidValue, require
from detente.filters.base import Filter
from detente.filters.gaussian_smoothing import GaussianSmoothing
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.games.conditional import Conditional
from detente.games.data_units import real_samples, spread, units_for
from detente.games.gan import Gan, gan_of
from detente.games.networks import Networks
from detente.games.penalised import InStandardUnits, PenalisedLosses, Roles
from detente.games.scores import Scores
from detente.games.separated import ends_in_sigmoid, separated
from detente.modules.calling import Build, copied
from detente.modules.joined_labels import labels_joined_to_latents, labels_joined_to_scores
from detente.modules.replaced_activations import (
    MOST_DROPOUT,
    has_idle_activations,
    largest_dropout,
    with_less_dropout,
    with_working_activations,
    without_bound,
    without_last_activation,
)
from detente.modules.replaced_layers import (
    has_idle_norms,
    has_layers,
    initialized_again,
    widened,
    with_gradients,
    with_working_norms,
    without_mates,
)
from detente.modules.rescaled import (
    Units,
    divide_inputs,
    filter_inputs,
    rescale_inputs,
    rescale_outputs,
    stay_in_training,
    units_of,
)
from detente.modules.resize_convolution import with_resize_convolutions
from detente.networks.packed import Packed
from detente.networks.spectral_norm import spectral_norm as with_spectral_norm
from detente.objectives.base import Objective
from detente.penalties.base import Penalty
from detente.schedules.base import Schedule

Transform = Callable[[nn.Module], nn.Module]


def changed(
    game: Game,
    objective: Objective | str | None = None,
    penalties: Sequence[Penalty] | None = None,
    batch: int | None = None,
    filter: Filter | None = None,
    scores: Scores | None = None,
    rescale: bool = False,
    input_noise: float | Schedule = 0.0,
    separate: bool = False,
    packed: int = 1,
    spectral_norm: bool = False,
    norm: bool = False,
    initialization: bool = False,
    shuffle: bool = False,
    trainable: bool = False,
    labels: bool = False,
    activations: bool = False,
    linear_output: bool = False,
    linear_scores: bool = False,
    resize_convolution: bool = False,
    dropout: bool = False,
    one_mode: bool = False,
    latent_scale: float = 1.0,
    more_latents: int = 1,
) -> Game:
    """A GAN with some of its settings replaced: `changed(my_game(), penalties=[R1(1.0)])`. The game is not changed.

    Args:
        game: the game: `Adversarial`, `Conditional`, or `Networks` with a generator and a discriminator.
        objective: a member of `detente.objectives` or its name; default: the game's own.
        penalties: members of `detente.penalties`, instead of the game's own; with your own losses, in addition to
            them. Default: the game's own.
        batch: samples in a batch; default: the game's own.
        filter: a member of `detente.filters`, instead of the game's own; default: the game's own.
        scores: output of the discriminator, "logits" or "probabilities"; default: the game's own.
        rescale: let the networks work in standard units, while samples stay in the data's: the generator becomes
            G'(z) = a + b G(z), the discriminator D'(x) = D((x − a)/b), and penalties are taken in standard units. For
            points and tables, a and b are each column's mean and standard deviation, for other data the mean and
            standard deviation of all numbers. The bounds of a bounded generator (tanh, sigmoid, ReLU) are mapped onto
            the data's least and greatest number instead; the discriminator sees −1 and 1 there.
        input_noise: Gaussian noise on all inputs of the discriminator in training, in standard deviations of the data,
            or a schedule.
        separate: replace your own losses by the non-saturating ones, with the same networks and data; the
            discriminator then scores real and generated samples in separate batches.
        packed: samples that the discriminator scores together (PacGAN); with more than 1, its first layer is replaced.
        spectral_norm: divide each weight of the discriminator by its largest singular value.
        norm: replace the discriminator's BatchNorm by layer norm; in both networks skip normalisation of maps of one
            pixel; give the generator's BatchNorm a momentum of 0.1 if its statistics hardly change.
        initialization: initialise all layers as PyTorch does by default.
        shuffle: shuffle the samples of a DataLoader or another iterable of batches.
        trainable: train frozen parameters of the two players, too.
        labels: of `Conditional`, add a learned vector for each label to the latents, and a learned linear score of the
            samples for each label to the scores.
        activations: in both networks, replace hidden activations by LeakyReLU of slope 0.2 where they are several
            sigmoids, or LeakyReLU with a slope near 1.
        linear_output: remove the generator's last layer, if it is softmax, a normalisation of each sample, or ReLU.
        linear_scores: remove the discriminator's last layer: softplus, tanh, ReLU, or a normalisation of one number.
        resize_convolution: in the generator, upsample and convolve instead of transposed convolutions whose kernel is
            not divisible by their stride.
        dropout: reduce dropout probabilities above 0.5 to 0.25, in both networks.
        one_mode: keep the generator in training mode, also in evaluation.
        latent_scale: number by which the generator divides its latents, > 0.
        more_latents: factor by which the number of latents grows; with more than 1, the generator's first layer is
            replaced.

    Raises:
        InvalidValue: the game is not a GAN, or does not support a change.
    """
    require(isinstance(game, Networks), "game", type(game).__name__, "Adversarial, Conditional or Networks")
    assert isinstance(game, Networks)
    if shuffle:
        again = getattr(game.batches, "source", None) is not None and not getattr(game.batches, "once", True)
        require(
            again, "shuffle", shuffle, "False, unless the data are a DataLoader or an iterable that can start again"
        )
        game = game.changed(data=Shuffled(game.arguments["data"]))
    if separate:
        game = separated(game, gan_of(game))
    change = _Changes(game)
    if norm:
        repairs = has_idle_norms(game.modules[change.gan.generator])
        if repairs:
            change.generator.append(with_working_norms)
        if not repairs or has_layers(game.modules[change.gan.discriminator]):
            change.discriminator.append(without_mates)
    if initialization:
        change.generator.append(initialized_again)
        change.discriminator.append(initialized_again)
    if trainable:
        change.generator.append(with_gradients)
        change.discriminator.append(with_gradients)
    if labels:
        require(isinstance(game, Conditional), "labels", labels, "False, since the game is not Conditional")
        assert isinstance(game, Conditional)
        sizes = math.prod(game.latent_shape), math.prod(game.data.shape)
        change.generator.append(partial(labels_joined_to_latents, classes=game.classes, numbers=sizes[0]))
        change.discriminator.append(partial(labels_joined_to_scores, classes=game.classes, numbers=sizes[1]))
    for requested, applies, transform, failing in (
        (activations, has_idle_activations, with_working_activations, "activations"),
        (dropout, _drops_most, with_less_dropout, "dropout"),
    ):
        if requested:
            fitting = [p for p in ("generator", "discriminator") if applies(game.modules[getattr(change.gan, p)])]
            require(len(fitting) > 0, failing, True, f"False, since neither network has such {failing}")
            for player in fitting:
                getattr(change, player).append(transform)
    if one_mode:
        change.generator.append(stay_in_training)
    if linear_output:
        change.generator.append(without_last_activation)
    if linear_scores:
        change.discriminator.append(without_bound)
    if resize_convolution:
        change.generator.append(with_resize_convolutions)
    positive = isinstance(latent_scale, int | float) and math.isfinite(latent_scale) and latent_scale > 0
    require(positive, "latent_scale", latent_scale, "a finite number > 0")
    if latent_scale != 1:
        change.generator.append(partial(divide_inputs, scale=float(latent_scale)))
    require(isinstance(more_latents, int) and more_latents >= 1, "more_latents", more_latents, "an integer ≥ 1")
    if more_latents > 1:
        plain = isinstance(game, Adversarial) and len(game.latent_shape) == 1
        require(plain, "more_latents", more_latents, "1, unless the latents are vectors that the library draws")
        change.generator.append(partial(widened, samples=more_latents))
        change.arguments["latent"] = more_latents * game.latent_shape[0]  # pyright: ignore[reportAttributeAccessIssue]
    require(isinstance(packed, int) and packed >= 1, "packed", packed, "an integer ≥ 1")
    if packed > 1:
        require(isinstance(game, Adversarial), "packed", packed, "1, since the losses are your own")
        change.discriminator.append(partial(_packed, samples=packed))
    if spectral_norm:
        change.discriminator.append(with_spectral_norm)
    open_ended = gan_of(changed(game, linear_output=True)) if rescale and linear_output else change.gan
    units = units_for(open_ended, "discriminator") if rescale else None
    if units is not None:
        change.generator.append(partial(rescale_outputs, units=units_for(open_ended)))
        change.discriminator.append(partial(rescale_inputs, units=units))
    if isinstance(input_noise, Schedule) or input_noise:
        filter = _noise(change, filter, input_noise, units)
    settings = {"objective": objective, "batch": batch, "filter": filter, "scores": scores}
    change.arguments |= {name: value for name, value in settings.items() if value is not None}
    penalty_list = None if penalties is None else (penalties,) if isinstance(penalties, Penalty) else tuple(penalties)
    return change.build(penalty_list, rescaled=units)


@dataclass
class _Changes:
    """Changes of a game that are collected before it is made."""

    game: Networks
    arguments: dict[str, Any] = field(default_factory=dict)
    generator: list[Transform] = field(default_factory=list)
    discriminator: list[Transform] = field(default_factory=list)
    _gan: Gan | None = None

    @property
    def gan(self) -> Gan:
        """The players."""
        if self._gan is None:
            self._gan = gan_of(self.game)
        return self._gan

    def build(self, penalties: Sequence[Penalty] | None, rescaled: Units | None) -> Game:
        """Return the changed game."""
        if isinstance(self.game, Adversarial):
            return self._adversarial(self.game, penalties, rescaled)
        return self._networks(penalties, rescaled)

    def _adversarial(self, game: Adversarial, penalties: Sequence[Penalty] | None, rescaled: Units | None) -> Game:
        arguments = dict(self.arguments)
        for player in ("generator", "discriminator"):
            transforms: list[Transform] = getattr(self, player)
            if transforms:
                arguments[player] = transformed(game.arguments[player], transforms)
        units = rescaled or units_of(game.modules["discriminator"])
        chosen = penalties if penalties is not None else game.penalties if rescaled else None
        if chosen is not None:
            arguments["penalties"] = _in_standard_units(chosen, units)
        return game.changed(**arguments) if arguments else game

    def _networks(self, penalties: Sequence[Penalty] | None, rescaled: Units | None) -> Game:
        for name in ("objective", "scores"):
            value = self.arguments.get(name)
            hint = "With separate=True, other losses replace them"
            require(value is None, name, value, "None, since the losses are your own", hint)
        arguments = {name: value for name, value in self.arguments.items() if name == "batch"}
        if (filter := self.arguments.get("filter")) is not None:
            require(not filter.scheduled, "filter", filter, "a filter without schedules, since the losses are your own")
            self.discriminator.append(partial(filter_inputs, change=_Filter(filter)))
        players = dict(self.game.arguments["players"])
        if self.generator:
            gan = self.gan
            generator = torch.Generator().manual_seed(0)
            vectors, buffers = self.game.initial(generator)
            calls = gan.generator_inputs(vectors, buffers, self.game.draw(generator), generator)
            _transform(players, gan.generator, calls[0].part, self.generator)
        if self.discriminator:
            _transform(players, self.gan.discriminator, self.gan.discriminator_part, self.discriminator)
        if penalties:
            arguments["losses"] = self._penalised(penalties, rescaled)
        if len(players) == 2:  # methods take the first of two players for the generator
            players = {name: players[name] for name in sorted(players, key=lambda name: name != self.gan.generator)}
        if [*players.items()] != [*self.game.arguments["players"].items()]:
            arguments["players"] = players
        return self.game.changed(**arguments) if arguments else self.game

    def _penalised(self, penalties: Sequence[Penalty], rescaled: Units | None) -> PenalisedLosses:
        gan = self.gan
        like = torch.zeros(())
        for penalty in penalties:
            memory = not penalty.initial_buffers(like)
            require(memory, "penalties", penalty, "penalties without memory, since the losses are your own")
        roles = Roles(
            gan.generator,
            gan.discriminator,
            gan.discriminator_part,
            gan.real_entry,
            self.game.form,
            ends_in_sigmoid(gan),
            gan.units,
        )
        units = rescaled or units_of(self.game.modules[gan.discriminator])
        return PenalisedLosses(self.game.arguments["losses"], roles, _in_standard_units(penalties, units))


@dataclass(frozen=True)
class Transformed:
    """A factory of modules, changed after they are made.

    Args:
        builder: the user's module or factory.
        transforms: functions that change a module and return it.
    """

    builder: Build
    transforms: tuple[Transform, ...]

    def __call__(self) -> nn.Module:
        """Return a new module."""
        module = copied(self.builder if isinstance(self.builder, nn.Module) else self.builder())
        for transform in self.transforms:
            module = transform(module)
        return module


def transformed(builder: Build, transforms: Sequence[Transform]) -> Build:
    """Return a changed module for a module, and a factory of changed ones for a factory or for new random numbers."""
    factory = Transformed(builder, tuple(transforms))
    draws = any(transform is initialized_again or _has_new_layers(transform) for transform in transforms)
    return factory() if isinstance(builder, nn.Module) and not draws else factory


def _has_new_layers(transform: Transform) -> bool:
    new = (_packed, widened, labels_joined_to_latents, labels_joined_to_scores)
    return isinstance(transform, partial) and transform.func in new


def _transform(players: dict[str, Any], name: str, part: str, transforms: Sequence[Transform]) -> None:
    allowed = "a player that is a module, or a class or function that returns one"
    builder = players.get(name)
    require(isinstance(builder, nn.Module) or callable(builder), "game", f"the player {name}", allowed)
    if part:
        transforms = [partial(_transform_part, part=part, transform=each) for each in transforms]
    players[name] = transformed(builder, transforms)  # pyright: ignore[reportArgumentType]


def _transform_part(module: nn.Module, part: str, transform: Transform) -> nn.Module:
    try:
        submodule = module.get_submodule(part)
    except AttributeError as error:
        raise InvalidValue("game", f"a method, {part}", "a module that is called itself, or a submodule") from error
    require(transform(submodule) is submodule, "game", part, "a module that is called itself")
    return module


def _drops_most(module: nn.Module) -> bool:
    return largest_dropout(module) > MOST_DROPOUT


def _packed(module: nn.Module, samples: int) -> nn.Module:
    return Packed(widened(module, samples), samples)


def _in_standard_units(penalties: Sequence[Penalty], units: Units | None) -> tuple[Penalty, ...]:
    """Return the penalties, those of slopes in standard units."""
    if units is None:
        return tuple(penalties)
    return tuple(
        InStandardUnits(each, units) if each.differentiates and not isinstance(each, InStandardUnits) else each
        for each in penalties
    )


def _noise(change: _Changes, filter: Filter | None, noise: float | Schedule, units: Units | None) -> Filter | None:
    """Return the filter with the noise, or make the discriminator add it itself, and return the filter."""
    positive = isinstance(noise, Schedule) or noise > 0
    require(positive, "input_noise", noise, "a number ≥ 0, or a schedule")
    deviation = spread(real_samples(change.gan))[1]
    game = change.game
    similar_scales = float(deviation.max()) <= 3 * float(deviation.min())
    present_filter = game.filter if isinstance(game, Adversarial) else None
    if isinstance(game, Adversarial) and filter is None and present_filter is None and similar_scales:
        return GaussianSmoothing(noise * float(deviation.mean()))
    allowed = "a number, since the noise is not the game's only filter, or the columns' scales differ"
    require(not isinstance(noise, Schedule), "input_noise", noise, allowed)
    assert not isinstance(noise, Schedule)
    standard = noise * deviation if units is None else noise * deviation / units.scale.to(deviation)
    change.discriminator.append(partial(filter_inputs, change=_Noise(standard.float())))
    return filter


@dataclass(frozen=True)
class _Noise:
    """Adds Gaussian noise of a standard deviation, () or in the shape of a sample."""

    deviation: Tensor

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        return x + self.deviation.to(x) * noise


@dataclass(frozen=True)
class _Filter:
    """Applies a filter, with the first of its strengths."""

    filter: Filter

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        strengths = self.filter.at(None)
        return self.filter(x, self.filter.draw(x.shape, generator), strengths[0])
