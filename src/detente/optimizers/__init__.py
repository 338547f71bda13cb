"""Optimizers: the move that each player makes along the field."""

from detente.optimizers.torch_optimizer import Torch

torch = Torch  # optimizers.torch(torch.optim.AdamW, lr=1e-4)
