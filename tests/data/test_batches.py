"""Batches of any form: sources, nesting, streams by seed, and where they continue."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset
from torch.utils.data import WeightedRandomSampler as Weighted

from detente import methods
from detente.data.batch_form import Form
from detente.data.batches import Batches, as_batches
from detente.data.gaussian_mixture import Ring
from detente.errors import InvalidValue
from detente.games.networks import Networks
from detente.training.stepper import Stepper


class Pair(NamedTuple):
    image: Tensor
    label: Tensor


@dataclass(frozen=True)
class Record:
    image: Tensor
    inside: dict[str, Any]


class Numbers(Dataset):
    """Items n = 0 … 9, as a dictionary with text and a random number."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"n": index, "text": f"number {index}", "noise": torch.rand(2), "numpy": np.random.rand()}


class Stateful:
    """A loader that continues where its state says, as torchdata's `StatefulDataLoader`; it shuffles each epoch."""

    def __init__(self, count: int = 6) -> None:
        self.count, self.order, self.at = count, [], 0

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if self.at >= len(self.order):
            self.order, self.at = torch.randperm(self.count).tolist(), 0
        while self.at < len(self.order):
            self.at += 1
            yield {"n": torch.tensor([self.order[self.at - 1]])}

    def state_dict(self) -> dict[str, Any]:
        return {"order": list(self.order), "at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.order, self.at = list(state["order"]), state["at"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(batches: Batches, count: int, seed: int = 0) -> list[Any]:
    at = generator(seed)
    return [batches.draw(4, at) for _ in range(count)]


def test_nested_batches_are_flattened_and_restored() -> None:
    image, label = torch.rand(3, 2), torch.arange(3)
    batch = {
        "pair": Pair(image, label),
        "list": [np.float32(2.5), (True, 3)],
        "record": Record(image + 1, {"t": label}),
        "text": ["a", "b"],
        "ordered": OrderedDict(array=np.ones(2)),
        "none": None,
        "t": torch.tensor(7),
    }
    form = Form.of(batch)
    tensors = form.flatten(batch)
    assert sorted(tensors) == sorted(form.names)
    assert {"pair.image", "pair.label", "list.0", "list.1.0", "record.inside.t", "ordered.array"} < set(tensors)
    back = form.unflatten(tensors)
    assert isinstance(back["pair"], Pair) and isinstance(back["record"], Record)
    assert back["pair"].image is image and torch.equal(back["record"].inside["t"], label)
    assert back["text"] == [None, None] and back["none"] is None and int(back["t"]) == 7
    assert back["list"][1] == (torch.tensor(True), torch.tensor(3)) and float(back["list"][0]) == 2.5
    assert str(form).startswith("a dict with pair.image")
    assert str(Form.of(image)) == "a tensor" and torch.equal(Form.of(image).unflatten({"batch": image}), image)


def test_a_batch_may_have_more_entries_but_not_fewer() -> None:
    form = Form.of({"image": torch.zeros(2), "label": torch.zeros(2)})
    more = form.flatten({"label": torch.ones(2), "image": torch.ones(5), "text": "x", "other": torch.ones(1)})
    assert list(more) == ["image", "label"] and more["image"].shape == (5,)
    with pytest.raises(InvalidValue, match="batch: got 'image'; allowed: a batch with image, label"):
        form.flatten({"image": torch.zeros(2)})
    with pytest.raises(InvalidValue, match="data: got 'batches of list'"):
        Form.of(["a", "b"])


POINTS = torch.linspace(-1, 1, 18).view(9, 2)
SOURCES: dict[str, Any] = {
    "data of ours": lambda: Ring(),
    "a tensor": lambda: POINTS,
    "tensors by name": lambda: {"x": POINTS, "y": np.arange(9)},
    "a tuple": lambda: (POINTS, torch.arange(9)),
    "a dataset": lambda: Numbers(),
    "a loader": lambda: DataLoader(Numbers(), batch_size=4, shuffle=True),
    "a loader with its own generator": lambda: DataLoader(Numbers(), 4, shuffle=True, generator=generator(5)),
    "a loader with a sampler": lambda: DataLoader(
        Numbers(), 4, sampler=Weighted([1.0] * 10, 20, generator=generator(5))
    ),
    "a loader with a batch sampler": lambda: DataLoader(
        Numbers(), batch_sampler=BatchSampler(RandomSampler(Numbers(), generator=generator(5)), 4, False)
    ),
    "a list": lambda: [{"x": torch.full((2,), float(i))} for i in range(3)],
    "a function": lambda: lambda at: {"x": torch.rand(3, generator=at)},
}


@pytest.mark.parametrize("name", SOURCES)
def test_each_seed_has_its_own_stream(name: str) -> None:
    """Seeds drawn in turn get what each gets alone, over several epochs; global random states do not change."""
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    alone = {seed: drawn(as_batches(SOURCES[name]()), 7, seed) for seed in (0, 1)}
    batches, generators = as_batches(SOURCES[name]()), {seed: generator(seed) for seed in (0, 1)}
    example = batches.example(4)
    together: dict[int, list[Any]] = {0: [], 1: []}
    for _ in range(7):
        for seed, at in generators.items():
            together[seed].append(batches.draw(4, at))
        batches.peek(4, generator(9))
    form = Form.of(example)
    for seed in (0, 1):
        for first, second in zip(alone[seed], together[seed], strict=True):
            torch.testing.assert_close(form.flatten(first), form.flatten(second), rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before[0]) and np.random.get_state()[1].tolist() == before[1]  # type: ignore
    assert len(batches.fingerprint()) == 16 and batches.fingerprint() == as_batches(SOURCES[name]()).fingerprint()


def test_a_loader_starts_again_in_another_order_and_its_last_batch_is_smaller() -> None:
    epochs = drawn(as_batches(DataLoader(Numbers(), batch_size=4, shuffle=True)), 6)
    assert [len(batch["n"]) for batch in epochs] == [4, 4, 2, 4, 4, 2]
    first, second = (torch.cat([batch["n"] for batch in epochs[start : start + 3]]) for start in (0, 3))
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(10))
    assert first.tolist() != second.tolist()
    batches = drawn(as_batches(SOURCES["a loader with its own generator"]()), 6)
    assert (
        torch.cat([batch["n"] for batch in batches[:3]]).tolist() != torch.cat([b["n"] for b in batches[3:]]).tolist()
    )


def test_workers_give_the_same_batches_in_any_run() -> None:
    loader = DataLoader(Numbers(), batch_size=4, shuffle=True, num_workers=1, persistent_workers=True)
    first, second = (drawn(as_batches(loader), 4) for _ in range(2))
    for batch, other in zip(first, second, strict=True):
        assert torch.equal(batch["n"], other["n"]) and torch.equal(batch["noise"], other["noise"])


def test_an_iterator_yields_each_batch_once_and_its_end_is_an_error() -> None:
    batches = as_batches(iter([{"x": torch.tensor([float(i)])} for i in range(3)]))
    assert float(batches.example(1)["x"]) == 0
    at = generator()
    assert [float(batches.draw(1, at)["x"]) for _ in range(2)] == [0, 1]
    assert float(batches.peek(1, generator(3))["x"]) == 0, "a measurement takes nothing from training"
    assert float(batches.draw(1, at)["x"]) == 2
    with pytest.raises(InvalidValue, match="can start again, such as a DataLoader"):
        batches.draw(1, at)


class Endless(IterableDataset):
    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield torch.rand(2)


def test_an_iterable_dataset_in_a_loader() -> None:
    first, second = (drawn(as_batches(DataLoader(Endless(), batch_size=3)), 3, seed=2) for _ in range(2))
    assert all(torch.equal(batch, other) for batch, other in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("at_step", [1, 4, 6, 7, 12])
def test_a_stateful_loader_continues_where_it_was(at_step: int) -> None:
    source = Stateful()
    batches, at = as_batches(source), generator(3)
    assert batches.restores
    batches.example(1)
    for _ in range(at_step):
        batches.draw(1, at)
    position, state = batches.position(at), at.get_state()
    expected = [int(batches.draw(1, at)["n"]) for _ in range(9)]
    resumed, again = as_batches(Stateful()), generator()
    resumed.example(1)
    again.set_state(state)
    resumed.restore(again, position)
    assert [int(resumed.draw(1, again)["n"]) for _ in range(9)] == expected
    assert source.order == [], "the user's own loader does not move"


def test_other_loaders_do_not_restore_their_order() -> None:
    batches = as_batches(DataLoader(TensorDataset(torch.arange(6)), 2))
    at = generator()
    batches.draw(2, at)
    assert not batches.restores and batches.position(generator()) == b""
    with pytest.warns(UserWarning, match="the order of the data is not restored"):
        batches.restore(at, batches.position(at))


@pytest.mark.parametrize("source", [None, 3, [], {"x": 3}, {}, {"x": torch.zeros(3), "y": torch.zeros(2)}])
def test_other_sources_are_refused(source: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        as_batches(source).example(2)
    assert caught.value.field == "data"


def test_the_copy_of_a_loader_shares_the_data() -> None:
    data = Numbers()
    loader = DataLoader(data, 4, shuffle=True, generator=generator(5))
    before = copy.copy(loader.generator.get_state())  # type: ignore[union-attr]
    batches, at = as_batches(loader), generator()
    batches.draw(4, at)
    inside = batches._streams[at][0]  # type: ignore[attr-defined]
    assert inside.dataset is data and inside.sampler.data_source is data
    assert inside.generator is inside.sampler.generator
    assert torch.equal(loader.generator.get_state(), before)  # type: ignore[union-attr]


def test_items_of_a_bare_iterable_dataset_are_collated() -> None:
    class Counted(IterableDataset):
        def __iter__(self) -> Any:
            return iter(range(10))

    batches, generator = as_batches(Counted(), 4), torch.Generator().manual_seed(0)
    drawn = [batches.draw(4, generator).tolist() for _ in range(4)]
    assert drawn == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [0, 1, 2, 3]]


def test_a_set_with_items_and_a_length_is_drawn_as_a_dataset() -> None:
    """As those of the Hugging Face hub, which do not inherit from torch's."""

    class Hub:
        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> dict[str, int]:
            return {"y": index}

        def __getitems__(self, indices: list[int]) -> list[dict[str, int]]:
            return [self[index] for index in indices]

    batches, generator = as_batches(Hub()), torch.Generator().manual_seed(0)
    assert batches.size == 6 and batches.draw(5, generator)["y"].shape == (5,)


def test_a_stepper_says_that_the_order_of_a_loader_is_lost_if_it_drew_from_it() -> None:
    def losses(net: Any, batch: Any) -> dict[str, Any]:
        return {"only": net.only(batch["x"]).square().mean()}

    def stepper() -> Stepper:
        rows: Any = [{"x": torch.ones(2) * number} for number in range(8)]
        loader = DataLoader(rows, batch_size=4, shuffle=True)
        return Stepper(Networks({"only": nn.Linear(2, 1)}, losses, loader), methods.simultaneous())

    drawn, given = stepper(), stepper()
    drawn.step()
    given.step({"x": torch.ones(4, 2)})
    stepper().load_state_dict(given.state_dict())  # whose batches are the user's
    with pytest.warns(UserWarning, match="the order of the data is not restored"):
        stepper().load_state_dict(drawn.state_dict())
