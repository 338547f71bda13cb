"""Layers of torch.nn that a player may contain, each with the shape of one sample that enters it."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false, reportPrivateImportUsage=false, reportReturnType=false, reportUnusedExpression=false

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from detente.networks.spectral_norm import spectral_norm

WIDTH, SEQUENCE, IMAGE, VOLUME = (6,), (4, 6), (4, 6, 6), (2, 4, 4, 4)


class Applied(nn.Module):
    """A layer and what becomes of its input and output.

    Args:
        function: (layer, features) ↦ features.
        layer: whose parameters it has.
    """

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.layer = function, layer if layer is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layer, x)


class Parameters(nn.Module):
    """Parameters w, (6,), and b, (6,), for functions that take them."""

    def __init__(self, size: int = 6) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.linspace(0.5, 1.5, size))
        self.b = nn.Parameter(torch.linspace(-0.3, 0.3, size))


def applied(function: Callable[[nn.Module, Tensor], Tensor], layer: Callable[[], nn.Module] | None = None) -> Callable:
    return lambda: Applied(function, None if layer is None else layer())


def first(layer: nn.Module, x: Tensor) -> Tensor:
    """Return the first of a layer's outputs."""
    return layer(x)[0]


def evaluated(layer: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Return a builder of the layer in evaluation mode."""

    def build() -> nn.Module:
        built = layer()
        for buffer in built.buffers():
            if buffer.is_floating_point():
                buffer.add_(torch.linspace(0.1, 0.4, buffer.numel()).view_as(buffer))
        return built.eval()

    return build


def attention(x: Tensor, **options: object) -> Tensor:
    return functional.scaled_dot_product_attention(x, x.tanh(), x.sin(), **options)  # pyright: ignore


Builder = Callable[[], nn.Module]
Table = dict[str, tuple[Builder, tuple[int, ...]]]

LINEAR: Table = {
    "Linear": (lambda: nn.Linear(6, 5), WIDTH),
    "Linear of sequences": (lambda: nn.Linear(6, 5), SEQUENCE),
    "Bilinear": (applied(lambda layer, x: layer(x, x.tanh()), lambda: nn.Bilinear(6, 6, 3)), WIDTH),
    "Identity": (nn.Identity, WIDTH),
    "Conv1d": (lambda: nn.Conv1d(4, 3, 3, 2, 1, padding_mode="circular"), SEQUENCE),
    "Conv2d": (lambda: nn.Conv2d(4, 3, 3), IMAGE),
    "Conv2d stride": (lambda: nn.Conv2d(4, 3, 3, 2, 1), IMAGE),
    "Conv2d dilation": (lambda: nn.Conv2d(4, 3, 3, dilation=2, padding=2), IMAGE),
    "Conv2d groups": (lambda: nn.Conv2d(4, 4, 3, groups=2, bias=False), IMAGE),
    "Conv2d reflect": (lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"), IMAGE),
    "Conv2d replicate": (lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="replicate"), IMAGE),
    "Conv2d same": (lambda: nn.Conv2d(4, 3, 4, padding="same"), IMAGE),
    "Conv3d": (lambda: nn.Conv3d(2, 2, 3, 2, 1), VOLUME),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 3, 3, 2, 1), SEQUENCE),
    "ConvTranspose1d output padding": (lambda: nn.ConvTranspose1d(4, 3, 3, 2, 1, 1), SEQUENCE),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 3, 4, 2, 1), IMAGE),
    "ConvTranspose2d output padding": (lambda: nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), IMAGE),
    "ConvTranspose2d output padding, groups": (lambda: nn.ConvTranspose2d(4, 4, 3, 3, 0, 2, 2, False), IMAGE),
    "ConvTranspose2d dilation": (lambda: nn.ConvTranspose2d(4, 3, 3, 2, 2, (0, 1), dilation=2), IMAGE),
    "ConvTranspose3d output padding": (lambda: nn.ConvTranspose3d(2, 2, 3, 2, 1, 1), VOLUME),
    "Unfold": (lambda: nn.Unfold(3, 1, 1, 2), IMAGE),
    "Fold": (applied(lambda layer, x: layer(x), lambda: nn.Fold((6, 6), 2, 2, 0, 2)), (4, 4)),
    "Flatten": (nn.Flatten, IMAGE),
    "Unflatten": (lambda: nn.Unflatten(1, (2, 2)), IMAGE),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), IMAGE),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), IMAGE),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(2), IMAGE),
    "einsum": (applied(lambda layer, x: torch.einsum("bij,j->bi", x, layer.w), Parameters), SEQUENCE),
    "grid_sample": (
        applied(
            lambda layer, x: functional.grid_sample(
                x, x.flatten(2)[:, :2].mT.reshape(len(x), 6, 6, 2).tanh() * 0.7, align_corners=False
            )
        ),
        IMAGE,
    ),
    "affine_grid": (
        applied(
            lambda layer, x: functional.grid_sample(
                x, functional.affine_grid(x[:, 0, :2, :3].tanh(), [len(x), 4, 3, 3], False), align_corners=False
            )
        ),
        IMAGE,
    ),
    "Embedding": (
        applied(lambda layer, x: x + layer(x.detach().gt(0).long())[..., 0], lambda: nn.Embedding(2, 3)),
        WIDTH,
    ),
    "Embedding padding": (
        applied(lambda layer, x: x * layer(x.detach().gt(0).long())[..., 0], lambda: nn.Embedding(2, 3, 0)),
        WIDTH,
    ),
    "EmbeddingBag": (
        applied(lambda layer, x: x * layer(x.detach().gt(0).long()), lambda: nn.EmbeddingBag(2, 6)),
        WIDTH,
    ),
    "EmbeddingBag sum": (
        applied(lambda layer, x: x * layer(x.detach().gt(0).long()), lambda: nn.EmbeddingBag(2, 6, mode="sum")),
        WIDTH,
    ),
    "EmbeddingBag max": (
        applied(lambda layer, x: x * layer(x.detach().gt(0).long()), lambda: nn.EmbeddingBag(2, 6, mode="max")),
        WIDTH,
    ),
    "EmbeddingBag weighted": (
        applied(
            lambda layer, x: layer(x.detach().gt(0).long(), per_sample_weights=x),
            lambda: nn.EmbeddingBag(2, 6, mode="sum"),
        ),
        WIDTH,
    ),
    "Upsample bilinear, corners": (lambda: nn.Upsample(scale_factor=1.5, mode="bilinear", align_corners=True), IMAGE),
    "interpolate antialias": (
        applied(lambda layer, x: functional.interpolate(x, (4, 3), mode="bilinear", antialias=True)),
        IMAGE,
    ),
    "interpolate bicubic antialias": (
        applied(lambda layer, x: functional.interpolate(x, (4, 3), mode="bicubic", antialias=True)),
        IMAGE,
    ),
    **{
        f"Upsample {mode}": (lambda mode=mode: nn.Upsample(scale_factor=2, mode=mode), shape)
        for mode, shape in {
            "nearest": IMAGE,
            "nearest-exact": IMAGE,
            "linear": SEQUENCE,
            "bilinear": IMAGE,
            "bicubic": IMAGE,
            "trilinear": VOLUME,
            "area": IMAGE,
        }.items()
    },
    **{
        f"{kind}Pad{n}d": (
            lambda kind=kind, n=n: getattr(nn, f"{kind}Pad{n}d")(1, *([0.5] if kind == "Constant" else [])),
            shape,
        )
        for kind in ("Zero", "Constant", "Reflection", "Replication", "Circular")
        for n, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
    },
}

POOLS: Table = {
    **{
        f"{kind}Pool{n}d": (lambda kind=kind, n=n: getattr(nn, f"{kind}Pool{n}d")(2), shape)
        for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg")
        for n, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
    },
    "MaxPool2d overlapping": (lambda: nn.MaxPool2d(3, 1, 1), IMAGE),
    "MaxPool2d dilated": (lambda: nn.MaxPool2d(2, 2, 0, 2), IMAGE),
    "AvgPool2d padded": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGE),
    "AdaptiveAvgPool2d 1": (lambda: nn.AdaptiveAvgPool2d(1), IMAGE),
    "AdaptiveAvgPool2d uneven": (lambda: nn.AdaptiveAvgPool2d((4, 5)), IMAGE),
    "LPPool1d": (lambda: nn.LPPool1d(4, 2), SEQUENCE),
    "LPPool2d": (lambda: nn.LPPool2d(2, 2), IMAGE),
    "LPPool3d": (lambda: nn.LPPool3d(2, 2), VOLUME),
    "FractionalMaxPool2d": (
        lambda: nn.FractionalMaxPool2d(2, output_size=3, _random_samples=torch.full((6, 4, 2), 0.3).double()),
        IMAGE,
    ),
    "FractionalMaxPool3d": (
        lambda: nn.FractionalMaxPool3d(2, output_size=2, _random_samples=torch.full((6, 2, 3), 0.3).double()),
        VOLUME,
    ),
    "MaxUnpool2d": (
        applied(lambda layer, x: functional.max_unpool2d(*functional.max_pool2d(x, 2, return_indices=True), 2)),
        IMAGE,
    ),
    "max over an axis": (applied(lambda layer, x: x.max(1).values + x.amax(1)), IMAGE),
    "sort, topk, cumsum, prod": (
        applied(lambda layer, x: x.sort(1).values.cumsum(1)[:, :3] * x.topk(3).values + x.prod(1, keepdim=True)),
        WIDTH,
    ),
}

ACTIVATIONS: Table = {
    **{
        name: ((lambda name=name: getattr(nn, name)()), WIDTH)
        for name in (
            "ReLU",
            "ReLU6",
            "LeakyReLU",
            "ELU",
            "SELU",
            "CELU",
            "GELU",
            "Hardshrink",
            "Hardsigmoid",
            "Hardtanh",
            "Hardswish",
            "LogSigmoid",
            "Mish",
            "PReLU",
            "Sigmoid",
            "SiLU",
            "Softplus",
            "Softshrink",
            "Softsign",
            "Tanh",
            "Tanhshrink",
        )
    },
    "RReLU in evaluation": (evaluated(nn.RReLU), WIDTH),
    "GELU tanh": (lambda: nn.GELU("tanh"), WIDTH),
    "ELU 2": (lambda: nn.ELU(2.0), WIDTH),
    "Softplus 3": (lambda: nn.Softplus(3.0, 5.0), WIDTH),
    "PReLU channels": (lambda: nn.PReLU(4), IMAGE),
    "Threshold": (lambda: nn.Threshold(0.1, 0.2), WIDTH),
    "GLU": (nn.GLU, WIDTH),
    "Softmax": (lambda: nn.Softmax(1), WIDTH),
    "Softmin": (lambda: nn.Softmin(1), WIDTH),
    "LogSoftmax": (lambda: nn.LogSoftmax(1), WIDTH),
    "Softmax2d": (nn.Softmax2d, IMAGE),
    "logsumexp": (applied(lambda layer, x: x.logsumexp(1, keepdim=True) + x.logcumsumexp(1)), WIDTH),
    "std and var": (applied(lambda layer, x: x.std(1, keepdim=True) + x.var(2, keepdim=True)), IMAGE),
    "std over the batch": (applied(lambda layer, x: x * x.std(0, keepdim=True)), WIDTH),
    "norm": (applied(lambda layer, x: x.norm(dim=1, keepdim=True) * torch.linalg.vector_norm(x, 3, 1, True)), WIDTH),
    "Dropout in evaluation": (evaluated(lambda: nn.Dropout(0.5)), WIDTH),
    "Dropout2d in evaluation": (evaluated(lambda: nn.Dropout2d(0.5)), IMAGE),
    "AlphaDropout in evaluation": (evaluated(lambda: nn.AlphaDropout(0.5)), WIDTH),
    "CosineSimilarity": (applied(lambda layer, x: layer(x, x.tanh() + 0.3), lambda: nn.CosineSimilarity(1)), SEQUENCE),
    "PairwiseDistance": (
        applied(lambda layer, x: layer(x[:, 0], x[:, 1].tanh())[:, None], lambda: nn.PairwiseDistance(2)),
        SEQUENCE,
    ),
    "cdist": (applied(lambda layer, x: torch.cdist(x, x.tanh() + 1, 2.0)), SEQUENCE),
    "cdist 3": (applied(lambda layer, x: torch.cdist(x, x.tanh() + 1, 3.0)), SEQUENCE),
    "cdist by products": (
        applied(lambda layer, x: torch.cdist(x, x.tanh() + 1, compute_mode="use_mm_for_euclid_dist")),
        SEQUENCE,
    ),
    "pdist": (applied(lambda layer, x: x[:, 0] * functional.pdist(x.flatten(1)).sum()), SEQUENCE),
    "normalize": (applied(lambda layer, x: functional.normalize(x, dim=1)), SEQUENCE),
    "binary cross entropy": (
        applied(lambda layer, x: functional.binary_cross_entropy_with_logits(x, x.sigmoid(), reduction="none")),
        WIDTH,
    ),
    "losses as layers": (
        applied(
            lambda layer, x: (
                functional.smooth_l1_loss(x, x.sin(), reduction="none")
                + functional.huber_loss(x, x.sin(), reduction="none")
                + functional.mse_loss(x, x.sin(), reduction="none")
                + functional.kl_div(x, x.sigmoid(), reduction="none")
            )
        ),
        WIDTH,
    ),
}

NORMS: Table = {
    "BatchNorm1d": (lambda: nn.BatchNorm1d(6), WIDTH),
    "BatchNorm1d of sequences": (lambda: nn.BatchNorm1d(4), SEQUENCE),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(4), IMAGE),
    "BatchNorm2d not affine": (lambda: nn.BatchNorm2d(4, affine=False), IMAGE),
    "BatchNorm2d without running statistics": (lambda: nn.BatchNorm2d(4, track_running_stats=False), IMAGE),
    "BatchNorm2d in evaluation": (evaluated(lambda: nn.BatchNorm2d(4)), IMAGE),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(2), VOLUME),
    "SyncBatchNorm in evaluation": (evaluated(lambda: nn.SyncBatchNorm(4)), IMAGE),
    "F.batch_norm": (
        applied(lambda layer, x: functional.batch_norm(x, None, None, layer.w, layer.b, True), Parameters),
        WIDTH,
    ),
    "torch.batch_norm": (
        applied(lambda layer, x: torch.batch_norm(x, layer.w, layer.b, None, None, True, 0.1, 1e-5, False), Parameters),
        WIDTH,
    ),
    "torch.batch_norm in evaluation": (
        applied(
            lambda layer, x: torch.batch_norm(
                x, layer.w, layer.b, x.new_ones(6), x.new_full((6,), 2.0), False, 0.1, 1e-5, False
            ),
            Parameters,
        ),
        WIDTH,
    ),
    "torch.native_batch_norm": (
        applied(
            lambda layer, x: torch.native_batch_norm(x, layer.w, layer.b, None, None, True, 0.1, 1e-5)[0], Parameters
        ),
        WIDTH,
    ),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(4), SEQUENCE),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4), IMAGE),
    "InstanceNorm2d affine": (lambda: nn.InstanceNorm2d(4, affine=True), IMAGE),
    "InstanceNorm2d running statistics": (lambda: nn.InstanceNorm2d(4, track_running_stats=True), IMAGE),
    "InstanceNorm2d in evaluation": (
        evaluated(lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True)),
        IMAGE,
    ),
    "InstanceNorm3d": (lambda: nn.InstanceNorm3d(2, affine=True), VOLUME),
    "F.instance_norm": (applied(lambda layer, x: functional.instance_norm(x)), SEQUENCE),
    "torch.instance_norm": (
        applied(lambda layer, x: torch.instance_norm(x, None, None, None, None, True, 0.1, 1e-5, False)),
        SEQUENCE,
    ),
    "LayerNorm": (lambda: nn.LayerNorm(6), WIDTH),
    "LayerNorm of images": (lambda: nn.LayerNorm([4, 6, 6]), IMAGE),
    "LayerNorm without bias": (lambda: nn.LayerNorm(6, bias=False), SEQUENCE),
    "LayerNorm not affine": (lambda: nn.LayerNorm([6], elementwise_affine=False), SEQUENCE),
    "F.layer_norm": (applied(lambda layer, x: functional.layer_norm(x, x.shape[1:])), IMAGE),
    "torch.layer_norm": (applied(lambda layer, x: torch.layer_norm(x, (6,), layer.w, layer.b), Parameters), SEQUENCE),
    "torch.native_layer_norm": (
        applied(lambda layer, x: torch.native_layer_norm(x, (6,), layer.w, layer.b, 1e-5)[0], Parameters),
        SEQUENCE,
    ),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), IMAGE),
    "GroupNorm not affine": (lambda: nn.GroupNorm(4, 4, affine=False), IMAGE),
    "F.group_norm": (applied(lambda layer, x: functional.group_norm(x, 2, layer.w, layer.b), Parameters), WIDTH),
    "torch.group_norm": (applied(lambda layer, x: torch.group_norm(x, 2, layer.w, layer.b), Parameters), WIDTH),
    "RMSNorm": (lambda: nn.RMSNorm(6), SEQUENCE),
    "RMSNorm not affine": (lambda: nn.RMSNorm([6, 6], elementwise_affine=False), IMAGE),
    "torch.rms_norm": (applied(lambda layer, x: torch.rms_norm(x, (6,), layer.w, 1e-3), Parameters), SEQUENCE),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(2, 0.5), IMAGE),
    "weight_norm": (lambda: nn.utils.weight_norm(nn.Linear(6, 5)), WIDTH),
    "weight_norm of convolutions": (lambda: nn.utils.weight_norm(nn.Conv2d(4, 3, 3)), IMAGE),
    "weight_norm of all": (lambda: nn.utils.weight_norm(nn.Linear(6, 5), dim=None), WIDTH),
    "weight_norm parametrized": (lambda: parametrizations.weight_norm(nn.Linear(6, 5)), WIDTH),
    "weight_norm parametrized, last axis": (lambda: parametrizations.weight_norm(nn.Conv1d(4, 3, 3), dim=2), SEQUENCE),
    "weight_norm parametrized, transposed": (
        lambda: parametrizations.weight_norm(nn.ConvTranspose2d(4, 3, 3), dim=1),
        IMAGE,
    ),
    "torch._weight_norm": (
        applied(lambda layer, x: x @ torch._weight_norm(layer.w.outer(layer.b) + 0.1, layer.w[:, None], 0), Parameters),
        WIDTH,
    ),
    "spectral_norm in evaluation": (evaluated(lambda: nn.utils.spectral_norm(nn.Linear(6, 5))), WIDTH),
    "spectral_norm parametrized in evaluation": (
        evaluated(lambda: parametrizations.spectral_norm(nn.Conv2d(4, 3, 3))),
        IMAGE,
    ),
    "detente's spectral_norm in evaluation": (evaluated(lambda: spectral_norm(nn.Linear(6, 5))), WIDTH),
    "orthogonal": (lambda: parametrizations.orthogonal(nn.Linear(6, 6)), WIDTH),
    "orthogonal cayley": (lambda: parametrizations.orthogonal(nn.Linear(6, 6), orthogonal_map="cayley"), WIDTH),
    "orthogonal householder": (
        lambda: parametrizations.orthogonal(nn.Linear(6, 6), orthogonal_map="householder"),
        WIDTH,
    ),
}

RECURRENT: Table = {
    "RNN": (applied(first, lambda: nn.RNN(6, 3, batch_first=True)), SEQUENCE),
    "RNN relu, two ways": (
        applied(first, lambda: nn.RNN(6, 3, 2, "relu", bidirectional=True, batch_first=True)),
        SEQUENCE,
    ),
    "LSTM": (applied(first, lambda: nn.LSTM(6, 3, batch_first=True)), SEQUENCE),
    "LSTM, two ways": (
        applied(first, lambda: nn.LSTM(6, 3, 2, bias=False, bidirectional=True, batch_first=True)),
        SEQUENCE,
    ),
    "LSTM projected": (applied(first, lambda: nn.LSTM(6, 4, proj_size=2, batch_first=True)), SEQUENCE),
    "LSTM's last state": (
        applied(lambda layer, x: torch.cat([s[0] for s in layer(x)[1]], -1), lambda: nn.LSTM(6, 3, batch_first=True)),
        SEQUENCE,
    ),
    "GRU": (applied(first, lambda: nn.GRU(6, 3, batch_first=True)), SEQUENCE),
    "GRU, two layers, time first": (
        applied(lambda layer, x: layer(x.transpose(0, 1))[0].transpose(0, 1), lambda: nn.GRU(6, 3, 2)),
        SEQUENCE,
    ),
    "RNNCell": (lambda: nn.RNNCell(6, 3), WIDTH),
    "RNNCell relu": (lambda: nn.RNNCell(6, 3, nonlinearity="relu"), WIDTH),
    "LSTMCell": (applied(lambda layer, x: torch.cat(layer(x), 1), lambda: nn.LSTMCell(6, 3)), WIDTH),
    "GRUCell": (lambda: nn.GRUCell(6, 3), WIDTH),
    "GRUCell of another state": (applied(lambda layer, x: layer(x, x[:, :3]), lambda: nn.GRUCell(6, 3)), WIDTH),
}

ATTENTION: Table = {
    "MultiheadAttention": (
        applied(
            lambda layer, x: layer(x, x, x, need_weights=False)[0],
            lambda: nn.MultiheadAttention(6, 2, batch_first=True),
        ),
        SEQUENCE,
    ),
    "MultiheadAttention with weights": (
        applied(lambda layer, x: layer(x, x, x)[1], lambda: nn.MultiheadAttention(6, 2, batch_first=True)),
        SEQUENCE,
    ),
    "MultiheadAttention in evaluation": (
        evaluated(applied(lambda layer, x: layer(x, x, x)[0], lambda: nn.MultiheadAttention(6, 2, batch_first=True))),
        SEQUENCE,
    ),
    "scaled_dot_product_attention": (applied(lambda layer, x: attention(x)), SEQUENCE),
    "scaled_dot_product_attention, causal": (applied(lambda layer, x: attention(x, is_causal=True)), SEQUENCE),
    "scaled_dot_product_attention, mask": (
        applied(lambda layer, x: attention(x, attn_mask=x[:, :, :4], scale=0.3)),
        SEQUENCE,
    ),
    "scaled_dot_product_attention, boolean mask": (
        applied(lambda layer, x: attention(x, attn_mask=torch.eye(4, dtype=torch.bool).logical_not())),
        SEQUENCE,
    ),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(6, 2, 5, 0.0, batch_first=True), SEQUENCE),
    "TransformerEncoderLayer in evaluation": (
        evaluated(lambda: nn.TransformerEncoderLayer(6, 2, 5, batch_first=True, activation="gelu")),
        SEQUENCE,
    ),
    "TransformerEncoder in evaluation": (
        evaluated(lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 5, batch_first=True), 2)),
        SEQUENCE,
    ),
    "TransformerDecoderLayer": (
        applied(
            lambda layer, x: layer(x, x.tanh()), lambda: nn.TransformerDecoderLayer(6, 2, 5, 0.0, batch_first=True)
        ),
        SEQUENCE,
    ),
    "Transformer": (
        applied(lambda layer, x: layer(x, x.tanh()), lambda: nn.Transformer(6, 2, 1, 1, 5, 0.0, batch_first=True)),
        SEQUENCE,
    ),
}

TABLE: Table = {**LINEAR, **POOLS, **ACTIVATIONS, **NORMS, **RECURRENT, **ATTENTION}
