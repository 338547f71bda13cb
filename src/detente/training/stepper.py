"""Training steps for your own loop: the only mutable object of the library."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detente.arguments import fitting
from detente.data.base import in_whole_batch
from detente.data.batch_form import map_entries
from detente.errors import require
from detente.game import EvaluationSettings, Game, Precision
from detente.games.adversarial import Adversarial
from detente.games.networks import Networks
from detente.methods.method import Method
from detente.modules.calling import copied, modules_of
from detente.ranks import Ranks, together
from detente.ranks import ranks as current_ranks
from detente.state import Info, State
from detente.training.distributed import alone, naming_lost_ranks
from detente.training.progress import Progress
from detente.training.same_start import progress_of_first, require_divisible
from detente.training.settings import require_device, require_supported
from detente.training.step import Draw, Steps, batch_to_device, draw, draw_noise, state_to_device


class Stepper:
    """Trains a game with a method, one step at a time, in your own loop.

    Args:
        game: any `detente.game.Game`; for a GAN, `detente.Adversarial`.
        method: any `detente.methods.method.Method`, e.g. from `detente.methods`.
        seed: random seed of initial parameters (if a factory creates them), batches, latents and noise.
        compiled: compile the step at the first call, which pays off after thousands of steps. A warning is issued if
            that is impossible; `execution` gives the reason.
        precision: precision of matrix products and convolutions: "float32" or "bfloat16" (autocast).
        accumulate: number of parts of each batch, ≥ 1. They are evaluated one after the other, which divides the memory
            use by about this number.
        channels_last: use the channels-last memory format for images, which is faster on most GPUs.
        device: device to train on, e.g. "cuda". Default: the device of the modules.
        ranks: from `detente.joined()`, if torchrun starts several processes that train the game together. All start
            with the state of rank 0 and take the same steps, as one process with the whole batch would.
    """

    def __init__(
        self,
        game: Game,
        method: Method,
        seed: int = 0,
        compiled: bool = False,
        precision: Precision = "float32",
        accumulate: int = 1,
        channels_last: bool = False,
        device: str | torch.device | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        fitting("game", Game, game)
        fitting("method", Method, method)
        seed, accumulate = fitting("seed", int, seed), fitting("accumulate", int, accumulate)
        if device is not None:
            require_device(device)
        settings, self.ranks = EvaluationSettings(precision, accumulate, channels_last), ranks
        self.game, self.method = game, (method := method.playing(game))
        self.generator = torch.Generator().manual_seed(seed)
        self._state, self._state_exposed = state_to_device(method.initial(game, self.generator), device), True
        require_supported(settings, game, method)
        with naming_lost_ranks(ranks):
            require_divisible(game.with_settings(settings), method, ranks)
            (start,) = progress_of_first([Progress(seed, self._state, self.generator.get_state())], ranks)
        self._state = method.state_of_rank(start.state, ranks)
        self.generator.set_state(start.random)
        self._steps, self._warned = Steps(game.with_settings(settings), method, compiled=compiled), not compiled
        self._warn_if_eager()

    @property
    def execution(self) -> str:
        """How steps are executed: "compiled", "eager", or "eager, not compiled: …" with the reason."""
        if self._steps.compiled:
            return "compiled"
        return f"eager, not compiled: {self._steps.fallback_reason}" if self._steps.fallback_reason else "eager"

    def _warn_if_eager(self) -> None:
        if not self._warned and not self._steps.compiled:
            self._warned = True
            warnings.warn(f"steps run eagerly, not compiled: {self._steps.fallback_reason}", stacklevel=3)

    @property
    def state(self) -> State:
        """The current state; states that were returned are never overwritten."""
        self._state_exposed = True
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state, self._state_exposed = state, True

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step needs, for `torch.save`: the state and the random generator.

        Of several ranks, all must call it, and all return the same; another number of ranks can load it.
        """
        position = torch.tensor([*self.game.position(self.generator)], dtype=torch.uint8)  # of the game's own data
        state = self.method.whole_state(self.state, self.ranks)
        return {"state": state.flat(), "random": self.generator.get_state(), "position": position}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was called, with the same game and method.

        Raises:
            InvalidValue: the state belongs to another game or method, or is no state.
        """
        keys = {"state", "random", "position"}
        complete = isinstance(state_dict, Mapping) and keys <= state_dict.keys()
        entries = list(state_dict) if isinstance(state_dict, Mapping) else state_dict
        require(complete, "state_dict", entries, "what Stepper.state_dict() returned: state, random, position")
        random = state_dict["random"]
        is_random = isinstance(random, Tensor) and random.shape == self.generator.get_state().shape
        require(is_random, "state_dict.random", random, "the state of a torch.Generator")
        whole = self.method.whole_state(self.state, self.ranks)
        saved, current = dict(state_dict["state"]), whole.flat()
        different = [
            name for name in sorted(saved.keys() | current.keys()) if _shape(saved, name) != _shape(current, name)
        ]
        allowed = "a state of the same game and method"
        require(not different, "state_dict", different[0] if different else "", allowed)
        on_device = {name: saved[name].to(tensor.device) for name, tensor in current.items()}
        self.state = self.method.state_of_rank(State.from_flat(on_device, whole), self.ranks)
        self.generator.set_state(random.cpu())
        self.game.restore(self.generator, bytes(state_dict["position"].tolist()))

    def step(self, batch: Any = None) -> Info:
        """Take one step and return its statistics.

        Args:
            batch: for a GAN, real samples (batch, …), (samples, labels), or a dictionary with "real"; for `Networks`,
                a batch in the form of its data; for another game, a dictionary with the same keys as its `draw`
                returns. Values are tensors or NumPy arrays. Default: the game draws a batch. If a step uses several
                batches, all contain these samples, with new latents. Of several ranks, each gives its own samples, as
                from a `DistributedSampler`, and all the same number.

        Raises:
            InvalidValue: the batch has another form.
            RankError: another rank was lost.
        """
        if self.ranks is None and current_ranks() is None:
            info = self._step(batch)
        else:
            with naming_lost_ranks(self.ranks), together(self.ranks):
                info = self._step(batch)
        self._state_exposed = False
        self._warn_if_eager()
        return info

    def _step(self, batch: Any) -> Info:
        game = self._steps.game
        state = self.method.prepare(game, self._state, self.generator)
        if batch is None:
            step_draw = draw(game, self.method, state, self.generator, self.ranks)
        else:
            step_draw = self._complete(batch)
        self._state, info = self._steps.single(state, step_draw, donate=not self._state_exposed)
        return info

    def sample(self, count: int) -> Tensor:
        """Return generated samples, (count, …), with the generator in evaluation mode; training is not affected.

        Of ranks that divide memory, all must call it.
        """
        generator = torch.Generator().manual_seed(int(self._state.t))
        allowed = "a game with one generator, such as detente.Adversarial, or detente.Networks(…, show=…)"
        require(isinstance(self.game, Networks), "game", type(self.game).__name__, allowed)
        assert isinstance(self.game, Networks)
        return self.game.sample(self._eval_state(), count, generator)

    def _eval_state(self) -> State:
        divided = self.ranks is not None and self.ranks.shard
        state = self.method.whole_state(self._state, self.ranks) if divided else self._state
        return self.method.scheme.eval_state(state)

    def modules(self) -> Any:
        """Return ordinary modules with the trained parameters, in evaluation mode.

        For `Adversarial`, return (generator, discriminator). For `Networks`, return a dictionary by player: its module,
        or its tensor. For another game, return a dictionary by player: its module, a tuple if it has several, or its
        vector (n_i,) if no module contains its parameters. Of ranks that divide memory, all must call it.
        """
        game = self.game
        if isinstance(game, Networks) and not isinstance(game, Adversarial):
            return game.trained(self._eval_state())
        if not isinstance(game, Adversarial):
            state = self._eval_state()
            batch = draw(game, self.method, state, torch.Generator().manual_seed(0)).batches[0]
            return modules_of(game, state.vectors, state.buffers, game.with_step(batch, state.t))
        generator, discriminator = (copied(game.modules[name]) for name in game.players)
        game.write(self._eval_state(), generator, discriminator)
        return (
            generator.eval(),
            discriminator.eval(),
        )  # after writing, because some layers merge weights in evaluation mode

    def _complete(self, batch: Any) -> Draw:
        game, device, count = self._steps.game, self._state.t.device, self.method.draws(self.game)
        if not alone(self.ranks):
            batch = self._in_whole_batch(batch)
        batches = tuple([game.complete(batch, self.generator) for _ in range(count)])
        batches = self.method.batches_of_rank(game, batches, self.ranks)
        batches = tuple([batch_to_device(complete_batch, device) for complete_batch in batches])
        return Draw(batches, draw_noise(game, self.method, self._state, self.generator))

    def _in_whole_batch(self, batch: Any) -> Any:
        """Return a batch as large as those of all ranks together, with zeros for theirs, so that all draw alike."""
        ranks, parts = self.ranks, self._steps.game.evaluation_settings.accumulate
        assert ranks is not None

        def enlarged(part: Any) -> Any:
            if not isinstance(part, Tensor | np.ndarray) or not part.ndim:
                return part
            count = len(part) * ranks.count
            return in_whole_batch(torch.as_tensor(part), ranks.rows(count, parts), count)

        return map_entries(enlarged, batch)


def _shape(tensors: Mapping[str, Tensor], name: str) -> object:
    return (tensors[name].shape, tensors[name].dtype) if name in tensors else None
