"""Start a run from trained parameters: of another run, of an export, or of state dictionaries."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from detente.errors import InvalidValue, Unquoted, require, unknown
from detente.game import Buffers, Game, Vectors
from detente.modules.calling import copied, copy_buffers, trainable, write
from detente.modules.layout import Layout

Source = Mapping[str, Any] | Path | str
Tensors = dict[str, Tensor]

FIELD = "warm_start"
FILES = "a run directory, a folder of `detente export`, or a file of state dictionaries (.pt, .pth, .safetensors)"
NAMED = 4  # tensors that an error names


def warm_started(source: Source, game: Game, seed: int, vectors: Vectors, buffers: Buffers) -> tuple[Vectors, Buffers]:
    """Return initial parameters and buffers with those of the source in place of the game's own.

    Args:
        source: a run directory (the seed's last checkpoint, or that of the first seed if this seed was not trained), a
            folder that `detente export` made, a file with a state dictionary for each player; or a mapping from players
            to any of these, to a file with one state dictionary, to a state dictionary or to a module. Players that
            are not named start as usual. Members of a side are named separately.
        game: the game.
        seed: the seed that starts.
        vectors: initial parameters of the game; not modified.
        buffers: initial buffers of the game; not modified.

    Raises:
        InvalidValue: the source cannot be read, or its tensors have other names or shapes than those of the game. The
            error names the player and the tensors.
    """
    vectors, buffers = dict(vectors), dict(buffers)
    if isinstance(source, Mapping):
        by_player = dict(source)
    else:
        by_player = _read(Path(source), seed)
        require(isinstance(by_player, dict) and not _is_state_dict(by_player), FIELD, str(source), _by_player(game))
    sides: dict[str, Tensors] = {}
    members = getattr(game, "members", {})
    for player, value in by_player.items():
        if player not in vectors and player not in members:
            raise unknown(f"{FIELD}.{player}", player, [*vectors, *members])
        if isinstance(value, str | Path):
            content = _read(Path(value), seed)
            value = content[player] if isinstance(content, dict) and player in content else content
        if player in members:
            side, part = members[player]
            if side not in sides:
                sides[side] = _state_dict(game, side, vectors[side], buffers.get(side, {}))
            recorded = {*getattr(game, "layouts", {})[side].names, *buffers.get(side, {})}
            sides[side] |= _of_member(f"{FIELD}.{player}", f"{part}.", value, sides[side], recorded)
            continue
        vectors[player], changed = _values(game, player, value, vectors[player], buffers.get(player, {}))
        if player in buffers:
            buffers[player] = changed
    for side, tensors in sides.items():
        vectors[side], buffers[side] = _values(game, side, tensors, vectors[side], buffers.get(side, {}))
    return vectors, buffers


def _by_player(game: Game) -> str:
    return f"{FILES} with tensors for each of {', '.join(game.players)}"


def _state_dict(game: Any, side: str, vector: Tensor, buffers: Tensors) -> Tensors:
    """Return the state dictionary of a side's module at a point."""
    module = copied(game.modules[side])
    write(module, game.layouts[side], vector, buffers, side)
    return dict(module.state_dict())


def _of_member(field: str, prefix: str, value: Any, whole: Tensors, recorded: set[str]) -> Tensors:
    """Return a member's tensors by their names in the state dictionary `whole` of its side.

    A checkpoint holds those in `recorded`, without frozen parameters.
    """
    expected, tensors = _below(whole, prefix), value
    if isinstance(value, _Checkpointed) and value.layout is not None:
        tensors = {**value.layout.unflatten(value.vector), **value.buffers}
        expected = {name: tensor for name, tensor in expected.items() if f"{prefix}{name}" in recorded}
    else:
        if isinstance(value, nn.Module):
            tensors = value.state_dict()
        elif isinstance(value, Tensor):
            tensors = {"value": value}
        require(_is_state_dict(tensors), field, type(value).__name__, f"{FILES}, a state dictionary or a module")
    _require_same(field, tensors, expected)
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _values(game: Game, player: str, value: Any, vector: Tensor, buffers: Tensors) -> tuple[Tensor, Tensors]:
    """Return a player's vector and buffers from any source of one player's tensors."""
    field = f"{FIELD}.{player}"
    if isinstance(value, _Checkpointed):
        return value.values(field, getattr(game, "layouts", {}).get(player), vector, buffers)
    value = value.state_dict() if isinstance(value, nn.Module) else value
    if isinstance(value, Tensor):
        require(value.numel() == vector.numel(), field, tuple(value.shape), f"a tensor of {vector.numel()} numbers")
        return value.reshape(-1).to(vector), buffers
    require(_is_state_dict(value), field, type(value).__name__, f"{FILES}, a state dictionary or a module")
    module = getattr(game, "modules", {}).get(player)
    if not isinstance(module, nn.Module):
        raise InvalidValue(field, "a state dictionary", f"a vector of shape {tuple(vector.shape)}")
    copy = copied(module)
    expected = {name: tensor for name, tensor in copy.state_dict().items() if isinstance(tensor, Tensor)}
    _require_same(field, value, expected)
    frozen = {name: p.clone() for name, p in copy.named_parameters() if not p.requires_grad}
    copy.load_state_dict(value)
    moving = getattr(game, "moving", {}).get(player, ())
    changed = [name for name, p in copy.named_parameters() if name in frozen and not torch.equal(p, frozen[name])]
    changed = [name for name in changed if name not in moving]
    hint = "They are not trained: load them into the module that you pass to the game"
    require(not changed, field, _listed(changed), "the values of the game for frozen parameters", hint)
    layout = Layout.of(trainable(copy), player)
    values = {name: tensor.to(vector.device) for name, tensor in copy_buffers(copy, moving).items()}
    return layout.flatten(trainable(copy)).to(vector), values


class _Checkpointed:
    """A player's tensors in a checkpoint: the vector, its layout if it is recorded, and the buffers."""

    def __init__(self, vector: Tensor, buffers: Tensors, layout: Layout | None) -> None:
        self.vector, self.buffers, self.layout = vector, buffers, layout

    def values(self, field: str, layout: Layout | None, vector: Tensor, buffers: Tensors) -> tuple[Tensor, Tensors]:
        """Return vector and buffers; `layout`, `vector` and `buffers` are those of the game that starts."""
        if layout is not None and self.layout is not None:
            _require_same(field, self.layout.unflatten(self.vector), layout.unflatten(vector))
        shapes = tuple(self.vector.shape), tuple(vector.shape)
        require(shapes[0] == shapes[1], field, f"a vector of shape {shapes[0]}", f"one of shape {shapes[1]}")
        _require_same(field, self.buffers, buffers)
        return self.vector.to(vector), {name: self.buffers[name].to(buffer) for name, buffer in buffers.items()}


def _read(path: Path, seed: int) -> Any:
    """Return the content of a source: tensors by player, or one state dictionary."""
    if (path / "checkpoints").is_dir():
        return _read_run(path, seed)
    if (path / "config.json").is_file():
        return _read_export(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        require(path.is_file(), FIELD, str(path), FILES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a damaged file, which then raises an error
            return torch.load(path, map_location="cpu", weights_only=True)
    except InvalidValue:
        raise
    except Exception as error:  # unpickling a damaged file may raise anything
        raise InvalidValue(FIELD, str(path), FILES, str(error).partition("\n")[0][:200]) from error


def _read_run(directory: Path, seed: int) -> dict[str, _Checkpointed]:
    """Return each player's tensors in the last checkpoint of a run directory that can be read."""
    reasons = []
    for path in sorted((directory / "checkpoints").glob("step*.safetensors"), reverse=True):
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
            seeds, layouts = json.loads(metadata["seeds"]), json.loads(metadata.get("layouts", "{}"))
            prefix = f"{seed if str(seed) in seeds else next(iter(seeds))}/state"
            tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            reasons.append(f"{path.name}: {error}")
            continue
        players = [name.rpartition("/")[2] for name in tensors if name.startswith(f"{prefix}/vectors/")]
        return {
            player: _Checkpointed(
                tensors[f"{prefix}/vectors/{player}"],
                _below(tensors, f"{prefix}/buffers/{player}/"),
                None if player not in layouts else _layout(layouts[player]),
            )
            for player in players
        }
    raise InvalidValue(FIELD, str(directory), "a run with a complete checkpoint", "; ".join(reasons))


def _read_export(directory: Path) -> dict[str, Tensors]:
    """Return each player's state dictionary in a folder that `detente export` made."""
    try:
        players = json.loads((directory / "config.json").read_text(encoding="utf-8"))["players"]
        return {player: load_file(directory / f"{player}.safetensors") for player in players}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InvalidValue(FIELD, str(directory), FILES, str(error).partition("\n")[0][:200]) from error


def _below(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _layout(shapes: Mapping[str, list[int]]) -> Layout:
    return Layout(tuple(shapes), tuple(map(tuple, shapes.values())))


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(item, Tensor) for item in value.values())


def _require_same(field: str, tensors: Mapping[str, Any], expected: Mapping[str, Tensor]) -> None:
    """Raise `InvalidValue` unless both have the same names with the same shapes."""
    missing, unexpected = ([*expected.keys() - tensors.keys()], [*tensors.keys() - expected.keys()])
    other = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    kinds = {"missing": sorted(missing), "unexpected": sorted(unexpected), "of other shapes": other}
    problem = "; ".join(f"{kind}: {_listed(names)}" for kind, names in kinds.items() if names)
    if problem:
        raise InvalidValue(field, Unquoted(problem), "tensors with the names and shapes of the game's module")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
