"""Exact types, families and bundles, in the order of the list."""

from __future__ import annotations

import pytest

from batchyard import catalogue
from batchyard.catalogue import Catalogue, InstanceType, UnknownInstanceType


def instance_type(name: str, vcpus: int, memory: int) -> InstanceType:
    return InstanceType(
        name=name,
        vcpus=vcpus,
        memory=memory,
        schedulable_memory=memory - 100,
        gpus=0,
        gpu_model=None,
        architecture="x86_64",
        current_generation=True,
        on_demand_price=0.1,
        spot_price=0.05,
    )


SMALL = Catalogue(
    [
        instance_type("a9.metal", 64, 262_144),
        instance_type("a9.xlarge", 4, 16_384),
        instance_type("a9.16xlarge", 64, 131_072),
        instance_type("a9.large", 2, 8_192),
        instance_type("a9-flex.large", 2, 8_192),
        instance_type("b9.2xlarge", 8, 16_384),
        instance_type("b9.2xlarge-more", 8, 32_768),
        instance_type("b9.large", 2, 4_096),
        instance_type("mac9.metal", 8, 16_384),
    ],
    source="made up",
    date="2026-01-01",
)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], []),
        (["a9.xlarge"], ["a9.xlarge"]),
        # A family: by vCPUs, then memory, and without its bare-metal sizes.
        (["a9"], ["a9.large", "a9.xlarge", "a9.16xlarge"]),
        (["b9"], ["b9.large", "b9.2xlarge", "b9.2xlarge-more"]),
        (["a9-flex"], ["a9-flex.large"]),
        (["a9.metal"], ["a9.metal"]),
        (["a9", "a9.metal"], ["a9.large", "a9.xlarge", "a9.16xlarge", "a9.metal"]),
        # The order of the list is kept.
        (["b9", "a9.large"], ["b9.large", "b9.2xlarge", "b9.2xlarge-more", "a9.large"]),
        (["a9.xlarge", "b9.large", "a9.large"], ["a9.xlarge", "b9.large", "a9.large"]),
        # A type that is named keeps its place and leaves the expansion of its family, on whichever side of it.
        (["a9", "a9.large"], ["a9.xlarge", "a9.16xlarge", "a9.large"]),
        (["a9.xlarge", "a9"], ["a9.xlarge", "a9.large", "a9.16xlarge"]),
        # Once each.
        (["a9", "b9.large", "a9"], ["a9.large", "a9.xlarge", "a9.16xlarge", "b9.large"]),
        (["a9.large", "b9.large", "a9.large"], ["a9.large", "b9.large"]),
    ],
)
def test_expansion(names: list[str], expected: list[str]) -> None:
    assert [each.name for each in SMALL.expand(names)] == expected


@pytest.mark.parametrize(
    ("bundle", "families"),
    [
        ("default_x86_64", ["m6i", "c6i", "r6i", "c7i"]),
        ("optimal", ["m6i", "c6i", "r6i", "c7i"]),
        ("default_arm64", ["m6g", "c6g", "r6g", "c7g"]),
    ],
)
def test_a_bundle_is_its_families(bundle: str, families: list[str]) -> None:
    loaded = catalogue.load()
    assert loaded.expand([bundle]) == loaded.expand(families)


def test_a_bundle_beside_types_of_its_own() -> None:
    names = [each.name for each in catalogue.load().expand(["c6i.4xlarge", "optimal", "r6i.large"])]
    assert names[0] == "c6i.4xlarge"
    assert names[-1] == "r6i.large"
    assert len(names) == len(set(names)) == len(catalogue.load().expand(["optimal"]))


def test_the_sizes_of_a_family() -> None:
    names = [each.name for each in catalogue.load().expand(["m6g"])]
    sizes = ["medium", "large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"]
    assert names == [f"m6g.{size}" for size in sizes]


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("c6i.larg", "c6i.large"),
        ("c6i-large", "c6i.large"),
        ("c6l", "c6i"),
        ("default-x86_64", "default_x86_64"),
        ("Optimal", "optimal"),
    ],
)
def test_an_unknown_name_and_what_it_may_mean(name: str, close: str) -> None:
    with pytest.raises(UnknownInstanceType) as caught:
        catalogue.load().expand(["c6i.large", name])
    assert isinstance(caught.value, ValueError)
    assert caught.value.name == name
    assert close in caught.value.close_matches
    assert str(caught.value).startswith(f"There is no instance type, family or bundle named {name!r}. Did you mean ")
    assert close in str(caught.value)


@pytest.mark.parametrize("name", ["", "zzzzzzzz", "mac9"])
def test_a_name_like_no_other(name: str) -> None:
    """`mac9` has bare-metal sizes alone, so that it stands for nothing."""
    with pytest.raises(UnknownInstanceType) as caught:
        SMALL.expand([name])
    assert caught.value.name == name


def test_a_refusal_without_a_close_match() -> None:
    with pytest.raises(UnknownInstanceType) as caught:
        SMALL.expand(["zzzzzzzz"])
    assert str(caught.value) == "There is no instance type, family or bundle named 'zzzzzzzz'."


@pytest.mark.parametrize(
    ("name", "family", "bare_metal"),
    [("c6i.large", "c6i", False), ("c7i-flex.xlarge", "c7i-flex", False), ("c7i.metal-24xl", "c7i", True)],
)
def test_what_a_name_says(name: str, family: str, bare_metal: bool) -> None:
    found = catalogue.load().types[name]
    assert (found.family, found.bare_metal) == (family, bare_metal)
