"""Faster ways to compute the same numbers up to rounding; each saves part of a step (AMD EPYC, decision 0013).

- `batch_norm`: second derivatives of BatchNorm in closed form; 9 % of a consensus step of DCGAN-28, width 32.
- `forward_cache`: the generator's call is made once in a step with a shared batch; 16 to 18 % of one of DCGAN-28.
- `layered_jacobian`: the dense Jacobian of linear layers from their outputs; 83 % of the ring's spectrum.
- `layered_moments`: variances of per-sample gradients from layers' inputs; 50 % of a Langevin step on the ring.

To turn one off, leave it out of `EvaluationSettings.shortcuts`: `game.with_settings(EvaluationSettings(shortcuts=()))`
uses none. `python -m benchmarks.shortcuts` measures them.
"""
