"""Keys that differ between configurations."""

from __future__ import annotations

from detente.report.differences import Difference, differences, flatten


def test_nested_mappings_become_dotted_names() -> None:
    nested = {"method": {"optimizer": {"rate": 2e-4, "betas": [0.5, 0.9]}, "note": None}, "empty": {}, 3: True}
    assert flatten(nested) == {
        "method.optimizer.rate": "0.0002",
        "method.optimizer.betas": "[0.5, 0.9]",
        "method.note": "null",
        "empty": "{}",
        "3": "true",
    }


def test_only_differing_keys_remain_and_the_environment_comes_last() -> None:
    first = {"versions": {"torch": "2.13.0"}, "steps": 10, "method": {"name": "gda"}}
    second = {"versions": {"torch": "2.9.0"}, "steps": 10, "method": {"name": "consensus", "gamma": 10.0}}
    assert differences([first, second]) == [
        Difference("method.name", ("gda", "consensus")),
        Difference("method.gamma", (None, "10")),
        Difference("versions.torch", ("2.13.0", "2.9.0")),
    ]


def test_close_numbers_are_formatted_differently() -> None:
    rows = differences([{"rate": 0.1}, {"rate": 0.10000000001}])
    assert [row.values for row in rows] == [("0.1", "0.10000000001")]


def test_equal_configurations_do_not_differ() -> None:
    assert differences([{"a": {"b": 1.0}}, {"a": {"b": 1.0}}]) == []
