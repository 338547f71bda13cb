"""Job T, and many seeds of consensus on the ring, in JAX with optax's Adam."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.sizes import JOB_T, RING


def _network(key, sizes: list[int]) -> list:  # noqa: ANN001
    """Return weights and biases, initialized as torch's linear layers."""
    import jax

    layers = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        key, weight_key, bias_key = jax.random.split(key, 3)
        bound = inputs**-0.5
        weight = jax.random.uniform(weight_key, (inputs, outputs), minval=-bound, maxval=bound)
        layers.append((weight, jax.random.uniform(bias_key, (outputs,), minval=-bound, maxval=bound)))
    return layers


def _apply(activation, layers, x):  # noqa: ANN001, ANN202
    *hidden, (last_weight, last_bias) = layers
    for weight, bias in hidden:
        x = activation(x @ weight + bias)
    return x @ last_weight + last_bias


def _centres(batch: int):  # noqa: ANN202
    import jax.numpy as jnp

    angles = 2 * jnp.pi * (jnp.arange(batch) % 8) / 8
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)], 1)


def adam(count: int) -> tuple[Callable[[], object], int]:
    """Return a function that does `count` alternating steps in one compiled call, and `count`."""
    import jax
    import optax

    jax.config.update("jax_platforms", "cpu")
    batch, latent, hidden = JOB_T["batch"], JOB_T["latent"], JOB_T["hidden"]
    optimizer = optax.adam(JOB_T["rate"], b1=0.5, b2=0.999)

    apply, centres = partial(_apply, lambda x: jax.nn.leaky_relu(x, 0.2)), _centres(batch)

    def loss_d(d, g, real, latents):  # noqa: ANN001, ANN202
        return jax.nn.softplus(-apply(d, real)).mean() + jax.nn.softplus(apply(d, apply(g, latents))).mean()

    def loss_g(g, d, latents):  # noqa: ANN001, ANN202
        return jax.nn.softplus(-apply(d, apply(g, latents))).mean()

    def step(state, _):  # noqa: ANN001, ANN202
        g, d, optimizer_state_g, optimizer_state_d, key = state
        key, real_key, discriminator_latent_key, generator_latent_key = jax.random.split(key, 4)
        real = centres + 0.01 * jax.random.normal(real_key, centres.shape)
        gradient = jax.grad(loss_d)(d, g, real, jax.random.normal(discriminator_latent_key, (batch, latent)))
        update, optimizer_state_d = optimizer.update(gradient, optimizer_state_d)
        d = optax.apply_updates(d, update)
        gradient = jax.grad(loss_g)(g, d, jax.random.normal(generator_latent_key, (batch, latent)))
        update, optimizer_state_g = optimizer.update(gradient, optimizer_state_g)
        return (optax.apply_updates(g, update), d, optimizer_state_g, optimizer_state_d, key), None

    steps = jax.jit(lambda state: jax.lax.scan(step, state, None, length=count)[0])
    key = jax.random.PRNGKey(0)
    g, d = _network(key, [latent, *hidden, 2]), _network(key, [2, *hidden, 1])
    state = (g, d, optimizer.init(g), optimizer.init(d), key)

    def call() -> object:
        nonlocal state
        state = jax.block_until_ready(steps(state))
        return state

    return call, count


def consensus_seeds(count: int, seeds: int, strength: float = 10.0) -> Callable[[], object]:
    """Return a function that does `count` consensus steps of several seeds of the ring in one compiled, mapped call."""
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_platforms", "cpu")
    batch, latent, hidden = RING["batch"], RING["latent"], RING["hidden"]
    optimizer = optax.adam(RING["rate"], b1=0.5, b2=0.999)
    apply, centres = partial(_apply, jax.nn.relu), _centres(batch)

    def loss_g(g, d, real, latents):  # noqa: ANN001, ANN202, ARG001
        return jax.nn.softplus(-apply(d, apply(g, latents))).mean()

    def loss_d(g, d, real, latents):  # noqa: ANN001, ANN202
        return jax.nn.softplus(-apply(d, real)).mean() + jax.nn.softplus(apply(d, apply(g, latents))).mean()

    def field(players, real, latents):  # noqa: ANN001, ANN202
        return jax.grad(loss_g, 0)(*players, real, latents), jax.grad(loss_d, 1)(*players, real, latents)

    def regulariser(players, real, latents):  # noqa: ANN001, ANN202
        v = field(players, real, latents)
        return 0.5 * sum((block**2).sum() for block in jax.tree.leaves(v)), v

    def step(state, _):  # noqa: ANN001, ANN202
        players, optimizer_state, key = state
        key, real_key, latent_key = jax.random.split(key, 3)
        real = centres + 0.01 * jax.random.normal(real_key, centres.shape)
        pull, v = jax.grad(regulariser, has_aux=True)(players, real, jax.random.normal(latent_key, (batch, latent)))
        direction = jax.tree.map(lambda block, pulled: block + strength * pulled, v, pull)
        update, optimizer_state = optimizer.update(direction, optimizer_state)
        return (optax.apply_updates(players, update), optimizer_state, key), None

    def train(key):  # noqa: ANN001, ANN202
        players = _network(key, [latent, *hidden, 2]), _network(key, [2, *hidden, 1])
        return jax.lax.scan(step, (players, optimizer.init(players), key), None, length=count)[0][0]

    steps = jax.jit(jax.vmap(train))
    return lambda: jax.block_until_ready(steps(jnp.stack([jax.random.PRNGKey(seed) for seed in range(seeds)])))
