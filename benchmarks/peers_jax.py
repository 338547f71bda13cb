"""Job T in JAX with optax's Adam."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.job_t import BATCH, LATENT, RATE, WIDTH


def adam(count: int) -> tuple[Callable[[], object], int]:
    """Return a function that does `count` alternating steps in one compiled call, and `count`."""
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_platforms", "cpu")
    optimizer = optax.adam(RATE, b1=0.5, b2=0.999)

    def network(key, sizes):  # noqa: ANN001, ANN202
        layers = []
        for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
            key, weight_key, bias_key = jax.random.split(key, 3)
            bound = inputs**-0.5
            weight = jax.random.uniform(weight_key, (inputs, outputs), minval=-bound, maxval=bound)
            layers.append((weight, jax.random.uniform(bias_key, (outputs,), minval=-bound, maxval=bound)))
        return layers

    def apply(layers, x):  # noqa: ANN001, ANN202
        for weight, bias in layers[:-1]:
            x = jax.nn.leaky_relu(x @ weight + bias, 0.2)
        weight, bias = layers[-1]
        return x @ weight + bias

    angles = 2 * jnp.pi * (jnp.arange(BATCH) % 8) / 8
    centres = jnp.stack([jnp.cos(angles), jnp.sin(angles)], 1)

    def loss_d(d, g, real, latents):  # noqa: ANN001, ANN202
        return jax.nn.softplus(-apply(d, real)).mean() + jax.nn.softplus(apply(d, apply(g, latents))).mean()

    def loss_g(g, d, latents):  # noqa: ANN001, ANN202
        return jax.nn.softplus(-apply(d, apply(g, latents))).mean()

    def step(state, _):  # noqa: ANN001, ANN202
        g, d, optimizer_state_g, optimizer_state_d, key = state
        key, real_key, discriminator_latent_key, generator_latent_key = jax.random.split(key, 4)
        real = centres + 0.01 * jax.random.normal(real_key, centres.shape)
        gradient = jax.grad(loss_d)(d, g, real, jax.random.normal(discriminator_latent_key, (BATCH, LATENT)))
        update, optimizer_state_d = optimizer.update(gradient, optimizer_state_d)
        d = optax.apply_updates(d, update)
        gradient = jax.grad(loss_g)(g, d, jax.random.normal(generator_latent_key, (BATCH, LATENT)))
        update, optimizer_state_g = optimizer.update(gradient, optimizer_state_g)
        return (optax.apply_updates(g, update), d, optimizer_state_g, optimizer_state_d, key), None

    steps = jax.jit(lambda state: jax.lax.scan(step, state, None, length=count)[0])
    key = jax.random.PRNGKey(0)
    g, d = network(key, [LATENT, WIDTH, WIDTH, 2]), network(key, [2, WIDTH, WIDTH, 1])
    state = (g, d, optimizer.init(g), optimizer.init(d), key)

    def call() -> object:
        nonlocal state
        state = jax.block_until_ready(steps(state))
        return state

    return call, count
