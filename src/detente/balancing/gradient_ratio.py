"""The adaptive weight of VQGAN: the adversarial term's gradient gets the norm of the reconstruction's."""

from __future__ import annotations

from torch import Tensor

from detente.autodiff import constant_gradient, constant_gradient_norm


def adaptive_weight(
    reconstruction_loss: Tensor, adversarial_loss: Tensor, at: Tensor, epsilon: float = 1e-4, most: float = 1e4
) -> Tensor:
    """Return the weight λ of the adversarial term of a generator, a number computed from two gradient norms.

    λ = min(‖∇_a L_rec‖ / (‖∇_a L_adv‖ + ε), most),  a = `at`.

    The code takes the weight of the decoder's last layer for a, and multiplies λ by a constant (0.8 or 1) and by the
    weight of `DelayedStart`. The decoder's output is cheaper: both gradients then end there. The ratios differ, since
    the last layer weighs the pixels by its inputs.

    λ is a constant, as in the paper, where it is detached. So the field is v = ∇L_rec + λ ∇L_adv, and it is not the
    gradient of L_rec + λ L_adv as a function of the parameters, which would also have the term L_adv ∇λ with second
    derivatives of both losses. The same holds one order higher: the Jacobian in consensus, in symplectic adjustment and
    in all spectra is that of the game with the present λ held fixed. It lacks ∇L_adv (∂λ/∂x)ᵀ, for all players x. No
    player is cut off from another: both losses keep their graphs.

    Args:
        reconstruction_loss: L_rec, (), on the graph.
        adversarial_loss: L_adv, (), on the graph, without a weight.
        at: a tensor from which both were computed: the generator's output, or the last layer's weight.
        epsilon: ε, ≥ 0.
        most: the largest weight, ≥ 0.

    Returns:
        λ, (), without a graph. Where no gradient of the generator is being computed (the discriminator's turn, or a
        loss that is only measured), there are no norms, and λ is 0, as in the code in evaluation mode.

    Raises:
        InvalidValue: `at` is being mapped over seeds or differentiated by `torch.func`, which has no graph to go back.

    Source: Esser, Rombach and Ommer 2021, VQGAN (arXiv:2012.09841), equation 7, with δ = 1e-6; ε = 1e-4 and the limit
        as in the code (CompVis/taming-transformers, `calculate_adaptive_weight`).
    """
    reconstruction = constant_gradient(reconstruction_loss, at)
    adversarial = constant_gradient(adversarial_loss, at)
    if reconstruction is None or adversarial is None:
        return adversarial_loss.new_zeros(())
    norms = [constant_gradient_norm(gradient, at) for gradient in (reconstruction, adversarial)]
    return (norms[0] / (norms[1] + epsilon)).clamp(0.0, most)
