"""Your own method: a field of a few lines, compared with two built-in methods at the same cost and on the same seeds.

JARE adds the squared norm of the *other* player's gradient to each player's loss: L_i + γ/2 ‖v_j‖². It is not part of
détente; this file is what a user would write.

    python examples/own_method.py

From the shell, use its import path, here from inside examples/:

    detente compare --game ring --methods simultaneous consensus:strength=1 own_method.jare --budget 2e4grads --out mine
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from detente import Method, compare, methods
from detente.autodiff import vector_field, vector_jacobian
from detente.fields.base import Field
from detente.games import presets
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
        for player in players:
            others = tuple(name for name in game.players if name != player)
            _, products = vector_jacobian(game, vectors, buffers, batch, players=others, columns=(player,))
            blocks[player] = plain.field[player] + self.strength * products[player]
        return replace(plain, field=blocks), memory


def jare(strength: float = 1.0, learning_rate: float = 3e-3) -> Method:
    """JARE with Adam; any scheme and optimizer would do. Its arguments are options: own_method.jare:strength=3.

    Args:
        strength: γ, ≥ 0.
        learning_rate: of both players; `--tune` varies it.
    """
    return Method(Jare(strength), Simultaneous(), Adam(learning_rate))


def main(budget: str = "600grads", seeds: int = 3, out: str = "runs/own_method") -> None:
    """Compare three methods on the ring of eight Gaussians, and print the path of the page."""
    adam = Adam(learning_rate=3e-3)
    candidates = {
        "simultaneous": methods.simultaneous(adam),
        "consensus": methods.consensus(strength=1.0, optimizer=adam),
        "yours": jare(),
    }
    page = compare(presets.ring(batch=128), candidates, out, budget, seeds=range(seeds))  # use ten in a real comparison
    print(f"The page: {page}")


if __name__ == "__main__":
    main()
