"""Balancing: weights of a loss's terms that follow their gradients, and a delayed start of the adversarial term.

These are functions of tensors, to be called in your own losses:

    weight = balancing.adaptive_weight(reconstruction_loss, adversarial_loss, at=reconstruction)
"""

from detente.balancing.gradient_norms import Balancer as Balancer
from detente.balancing.gradient_ratio import adaptive_weight as adaptive_weight
from detente.schedules.delayed_start import DelayedStart as DelayedStart
