"""The data file that comes with the package, and how it is read."""

from __future__ import annotations

import pytest

from batchyard import catalogue
from batchyard.catalogue import BUNDLES, InstanceType
from batchyard.catalogue.data import COLUMNS


@pytest.mark.parametrize(
    ("name", "vcpus", "memory", "schedulable", "gpus", "gpu_model", "architecture", "current", "on_demand"),
    [
        ("t3.micro", 2, 1_024, 890, 0, None, "x86_64", True, 0.0104),
        ("m4.large", 2, 8_192, 7_953, 0, None, "x86_64", False, 0.10),
        ("m5.large", 2, 8_192, 7_754, 0, None, "x86_64", False, 0.096),
        ("c5.18xlarge", 72, 147_456, 142_666, 0, None, "x86_64", False, 3.06),
        ("c6i.large", 2, 4_096, 3_786, 0, None, "x86_64", True, 0.085),
        ("c6i.metal", 128, 262_144, 257_937, 0, None, "x86_64", True, 5.44),
        ("m6i.32xlarge", 128, 524_288, 507_722, 0, None, "x86_64", False, 6.144),
        ("r6g.medium", 1, 8_192, 7_754, 0, None, "arm64", True, 0.0504),
        ("c7gd.12xlarge", 48, 98_304, 95_050, 0, None, "arm64", True, 2.1773),
        ("r7i.8xlarge", 32, 262_144, 253_770, 0, None, "x86_64", True, 2.1168),
        ("g4dn.12xlarge", 48, 196_608, 190_282, 4, "T4", "x86_64", True, 3.912),
        ("g5.xlarge", 4, 16_384, 15_690, 1, "A10G", "x86_64", False, 1.006),
        ("g5g.xlarge", 4, 8_192, 7_754, 1, "T4g", "arm64", True, 0.42),
        ("g6f.large", 2, 8_192, 7_754, 1, "L4", "x86_64", True, 0.202),
        ("p3.2xlarge", 8, 62_464, 61_377, 1, "V100", "x86_64", False, 3.06),
        ("p4d.24xlarge", 96, 1_179_648, 1_142_602, 8, "A100", "x86_64", True, 21.957642),
        ("p5.48xlarge", 192, 2_097_152, 2_031_434, 8, "H100", "x86_64", True, 55.04),
        ("x2iedn.32xlarge", 128, 4_194_304, 4_063_050, 0, None, "x86_64", True, 26.676),
    ],
)
def test_known_types(
    name: str,
    vcpus: int,
    memory: int,
    schedulable: int,
    gpus: int,
    gpu_model: str | None,
    architecture: str,
    current: bool,
    on_demand: float,
) -> None:
    found = catalogue.load().types[name]
    figures = (found.vcpus, found.memory, found.schedulable_memory, found.gpus, found.gpu_model)
    assert figures == (vcpus, memory, schedulable, gpus, gpu_model)
    assert (found.architecture, found.current_generation, found.on_demand_price) == (architecture, current, on_demand)


@pytest.mark.parametrize(
    ("name", "spot_price"),
    [
        ("c6i.large", 0.0339),
        ("m6i.2xlarge", 0.1688),
        ("r6g.4xlarge", 0.2329),
        ("p4d.24xlarge", 14.2313),
        ("a1.large", 0.051),
    ],
)
def test_spot_prices_as_observed(name: str, spot_price: float) -> None:
    assert catalogue.load().types[name].spot_price == spot_price


@pytest.mark.parametrize(
    ("name", "kernel_lacks"),
    [
        ("t3.micro", 108_433_408),
        ("t3.medium", 264_945_664),
        ("t2.large", 278_491_136),
        ("m4.large", 278_482_944),
        ("m4.16xlarge", 4_454_281_216),
        ("r4.8xlarge", 4_454_129_664),
        ("c5.large", 453_677_056),
        ("c5.xlarge", 586_280_960),
        ("r5.24xlarge", 21_756_776_448),
        ("m5a.24xlarge", 13_729_243_136),
        ("t4g.small", 206_204_928),
        ("i3en.metal", 13_417_226_240),
        ("im4gn.16xlarge", 9_405_534_208),
        ("m5.24xlarge", 11_086_274_560),
        ("c6i.large", 285_917_184),
        ("c6i.32xlarge", 8_715_804_672),
        ("c6i.metal", 4_628_090_880),
        ("m6i.large", 424_321_024),
        ("m6i.24xlarge", 12_969_508_864),
        ("r6i.large", 703_246_336),
        ("r6i.32xlarge", 34_284_670_976),
        ("m6a.large", 470_466_560),
        ("r6a.48xlarge", 59_844_067_328),
        ("c6g.medium", 218_644_480),
        ("c7g.16xlarge", 4_778_635_264),
        ("m7g.large", 439_844_864),
        ("r7g.16xlarge", 18_458_005_504),
        ("g4dn.xlarge", 733_085_696),
        ("x2idn.32xlarge", 51_465_064_448),
    ],
)
def test_schedulable_memory_is_near_what_was_measured(name: str, kernel_lacks: int) -> None:
    """Within 4 % of the nominal memory. `kernel_lacks`: nominal bytes less those that a node of the type reported, as
    Karpenter's AWS provider lists it (2023)."""
    found = catalogue.load().types[name]
    measured = found.memory - kernel_lacks / 2**20 - 32
    assert found.schedulable_memory == pytest.approx(measured, abs=0.04 * found.memory)


def test_every_type_is_sane() -> None:
    types = catalogue.load().types
    assert len(types) > 1_000
    for name, each in types.items():
        assert name == each.name
        assert each.vcpus > 0, name
        assert 0.75 * each.memory < each.schedulable_memory < each.memory, name
        assert (each.gpus > 0) == (each.gpu_model is not None), name
        assert each.architecture in ("x86_64", "arm64"), name
        assert 0 < each.spot_price <= each.on_demand_price, name
        assert each.bare_metal == (".metal" in name), name


def test_a_family_has_one_architecture() -> None:
    architectures: dict[str, set[str]] = {}
    for each in catalogue.load().types.values():
        architectures.setdefault(each.family, set()).add(each.architecture)
    assert {family for family, found in architectures.items() if len(found) > 1} == set()


def test_every_bundle_is_there() -> None:
    loaded = catalogue.load()
    for bundle, families in BUNDLES.items():
        assert {each.family for each in loaded.expand([bundle])} == set(families)


def test_it_says_where_it_is_from_and_is_read_once() -> None:
    loaded = catalogue.load()
    assert "us-east-1" in loaded.source
    assert loaded.date == "2026-10-27"
    assert catalogue.load() is loaded


def test_it_cannot_be_changed() -> None:
    types = catalogue.load().types
    with pytest.raises(TypeError):
        types["c6i.large"] = types["c6i.xlarge"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        types["c6i.large"].vcpus = 3  # type: ignore[misc]


def test_a_file_is_parsed() -> None:
    columns = ",".join(COLUMNS)
    text = (
        f"# source: a list: of mine\n# date: 2026-01-02\n{columns}\ng9.large,2,8192,7754,1,L9,x86_64,no,0.5,0.25,all\n"
    )
    parsed = catalogue.parse(text)
    assert (parsed.source, parsed.date) == ("a list: of mine", "2026-01-02")
    assert list(parsed.types.values()) == [
        InstanceType(
            name="g9.large",
            vcpus=2,
            memory=8192,
            schedulable_memory=7754,
            gpus=1,
            gpu_model="L9",
            architecture="x86_64",
            current_generation=False,
            on_demand_price=0.5,
            spot_price=0.25,
        )
    ]


@pytest.mark.parametrize("text", ["", "# date: 2026-01-02\n", "name,vcpus\nc6i.large,2\n"])
def test_what_is_no_catalogue_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="The columns of an instance catalogue are name, vcpus"):
        catalogue.parse(text)
