"""Your own method: a field of a few lines, trained beside two of ours through the same loop, seed and clock.

JARE adds to each player's loss what the *other* player's gradient weighs: L_i + γ/2 ‖v_j‖². It is not in détente; here
it is written as a user would.

    python examples/own_method.py
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from detente import Method, Run, methods, standard_games, train
from detente.derivatives import vector_field, vector_jacobian
from detente.fields.base import Field
from detente.optimizers.adam import Adam
from detente.schemes.simultaneous import Simultaneous


@dataclass(frozen=True)
class Jare(Field):
    """w_i = v_i + γ ∇_{x_i} ½‖v_j‖² for the other player j (Nie & Patel 2019, arXiv:1806.09235)."""

    strength: float = 1.0

    def gradient_evaluations(self, moving, players):
        return 3 * len(moving)  # v_i, then v_j and the gradient of its norm

    def __call__(self, game, vectors, buffers, batch, memory, players):
        plain = vector_field(game, vectors, buffers, batch, players)
        blocks = {}
        for one in players:
            others = tuple(name for name in game.players if name != one)
            _, pull = vector_jacobian(game, vectors, buffers, batch, players=others, wanted=(one,))
            blocks[one] = plain.field[one] + self.strength * pull[one]
        return replace(plain, field=blocks), memory


def main(steps: int = 200) -> None:
    """Train three methods on the ring of eight Gaussians, and print how they end."""
    adam = Adam(learning_rate=3e-3)
    contestants = {
        "simultaneous": methods.simultaneous(adam),
        "consensus": methods.consensus(strength=1.0, optimizer=adam),
        "yours": Method(Jare(strength=1.0), Simultaneous(), adam),  # any scheme, any optimizer
    }
    game = standard_games.ring(batch=128)
    print(f"after {steps} steps    modes covered  near a mode (%)  gradients  seconds")
    for name, method in contestants.items():
        run = Run(game, method, steps=steps, seeds=(0,), measure_every=steps)  # more seeds for a real comparison
        *_, last = train(run)  # a generator of ticks: look at each, or only at the last
        metrics, seconds = last.metrics[0], last.progress[0].seconds
        gradients = steps * method.gradient_evaluations(game)
        print(f"{name:16}{metrics['modes_covered']:17.0f}{metrics['good_share']:17.1f}{gradients:11}{seconds:9.1f}")


if __name__ == "__main__":
    main()
