"""Write the catalogue of EC2 instance types that comes with Batchyard.

    python scripts/build_instance_catalogue.py

It asks EC2 for the instance types and the Spot prices of the last days, and the price list for the on-demand prices. It
needs AWS credentials that may do ec2:DescribeInstanceTypes, ec2:DescribeSpotPriceHistory and pricing:GetProducts; the
calls are free of charge.

`--from-files DIRECTORY` takes saved answers in their place, as `--save-answers DIRECTORY` or the AWS CLI writes them:

    aws ec2 describe-instance-types --region us-east-1 > describe-instance-types.json
    aws pricing get-products --region us-east-1 --service-code AmazonEC2 --filters … > get-products.json
    aws ec2 describe-spot-price-history --region us-east-1 --product-descriptions Linux/UNIX \\
        --start-time … > describe-spot-price-history.json

A type that the answers no longer have stays in the file as it was, as one of a former generation: environments that name
it go on working. docs/reference/instance-types.md says how each figure comes about.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from batchyard.catalogue.data import COLUMNS, FILE, parse

OUTPUT = Path(__file__).parents[1] / "src" / "batchyard" / "catalogue" / FILE
TYPES, PRODUCTS, SPOT = "describe-instance-types.json", "get-products.json", "describe-spot-price-history.json"
SOURCE = "EC2 DescribeInstanceTypes and DescribeSpotPriceHistory, AWS Price List GetProducts"
AGENT_RESERVE = 32
"""MiB that the ECS agent keeps from jobs (its ECS_RESERVED_MEMORY, as AWS Batch leaves it)."""

PRODUCT_FILTERS = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}


@dataclass(frozen=True)
class Answers:
    """What AWS said."""

    instance_types: list[dict[str, Any]]
    """`InstanceTypes` of DescribeInstanceTypes."""
    products: list[dict[str, Any] | str]
    """`PriceList` of GetProducts: JSON documents, or texts of them."""
    spot_prices: list[dict[str, Any]]
    """`SpotPriceHistory` of DescribeSpotPriceHistory."""


@dataclass(frozen=True)
class Facts:
    """An instance type without its Spot price."""

    name: str
    vcpus: int
    memory: int
    schedulable_memory: int
    gpus: int
    gpu_model: str
    architecture: str
    current_generation: bool
    on_demand_price: float

    @property
    def family(self) -> str:
        return self.name.partition(".")[0]


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        answers = read_answers(options.from_files) if options.from_files else ask(options.region, options.days)
        if options.save_answers:
            save_answers(answers, options.save_answers)
        before = options.output.read_text() if options.output.exists() else ""
        source = options.source or f"{SOURCE}, {options.region}"
        text = catalogue_text(answers, before, region=options.region, source=source, date=options.date)
        options.output.write_text(text)
    except (BotoCoreError, ClientError) as error:
        print(f"AWS gave no answer: {error}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"These are no answers of those calls: there is no {error} in them", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.output}: {len(parse(text).types)} instance types")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from-files", type=Path, metavar="DIRECTORY", help="saved answers; AWS is not asked")
    parser.add_argument("--save-answers", type=Path, metavar="DIRECTORY", help="keep the answers, for --from-files")
    parser.add_argument("--region", default="us-east-1", help="where prices are taken from (default: us-east-1)")
    parser.add_argument("--days", type=int, default=7, help="how far back Spot prices are looked at (default: 7)")
    parser.add_argument("--date", default=date.today().isoformat(), help="the day of the figures (default: today)")
    parser.add_argument("--source", help="what the file says about where the figures are from")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file to write (default: the package's own)")
    return parser.parse_args(arguments)


def ask(region: str, days: int) -> Answers:
    """Ask AWS, with the credentials of the environment."""
    ec2 = boto3.client("ec2", region_name=region)
    # The price list is served from a few regions alone, us-east-1 among them, for all regions.
    pricing = boto3.client("pricing", region_name="us-east-1")
    since = datetime.now(UTC) - timedelta(days=days)
    filters = [
        {"Type": "TERM_MATCH", "Field": field, "Value": value}
        for field, value in {**PRODUCT_FILTERS, "regionCode": region}.items()
    ]

    def pages(client: Any, operation: str, member: str, **request: Any) -> list[Any]:
        return [each for page in client.get_paginator(operation).paginate(**request) for each in page[member]]

    return Answers(
        instance_types=pages(ec2, "describe_instance_types", "InstanceTypes"),
        products=pages(pricing, "get_products", "PriceList", ServiceCode="AmazonEC2", Filters=filters),
        spot_prices=pages(
            ec2,
            "describe_spot_price_history",
            "SpotPriceHistory",
            ProductDescriptions=["Linux/UNIX"],
            StartTime=since,
        ),
    )


def read_answers(directory: Path) -> Answers:
    """Raises OSError, ValueError (no JSON) and KeyError (not that answer)."""

    def members(file: str, member: str) -> list[Any]:
        return list(json.loads((directory / file).read_text())[member])

    return Answers(
        instance_types=members(TYPES, "InstanceTypes"),
        products=members(PRODUCTS, "PriceList"),
        spot_prices=members(SPOT, "SpotPriceHistory"),
    )


def save_answers(answers: Answers, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for file, member, values in (
        (TYPES, "InstanceTypes", answers.instance_types),
        (PRODUCTS, "PriceList", answers.products),
        (SPOT, "SpotPriceHistory", answers.spot_prices),
    ):
        (directory / file).write_text(json.dumps({member: values}, default=str, indent=1) + "\n")


def catalogue_text(answers: Answers, before: str, *, region: str, source: str, date: str) -> str:
    """The data file. `before` is the file as it was, or empty: types that the answers lack stay as they were there."""
    prices = on_demand_prices(answers.products, region)
    facts = sorted(_facts(answers.instance_types, prices), key=lambda each: each.name)
    spot = typical_spot_prices(facts, answers.spot_prices)
    if not facts:
        raise ValueError(f"The answers hold no instance type that has an on-demand price for Linux in {region}")
    rows = {each.name: _row(each, *spot[each.name]) for each in facts}
    rows |= {row[0]: row for row in _former_rows(before) if row[0] not in rows}
    text = io.StringIO()
    text.write(f"# source: {source}\n# date: {date}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows[name] for name in sorted(rows))
    parse(text.getvalue())
    return text.getvalue()


def _former_rows(before: str) -> Iterator[list[str]]:
    if before:
        parse(before)
    current = COLUMNS.index("current_generation")
    for row in csv.reader(line for line in before.splitlines()[1:] if not line.startswith("#")):
        if row[0] != COLUMNS[0]:
            yield [*row[:current], "no", *row[current + 1 :]]


def _row(facts: Facts, spot_price: float, spot_price_from: str) -> list[str]:
    return [
        facts.name,
        str(facts.vcpus),
        str(facts.memory),
        str(facts.schedulable_memory),
        str(facts.gpus),
        facts.gpu_model,
        facts.architecture,
        "yes" if facts.current_generation else "no",
        _decimal(facts.on_demand_price),
        _decimal(spot_price),
        spot_price_from,
    ]


def _decimal(price: float) -> str:
    return f"{price:.6f}".rstrip("0").rstrip(".")


def _facts(instance_types: Iterable[dict[str, Any]], prices: Mapping[str, float]) -> Iterator[Facts]:
    """The types that can run Linux and have an on-demand price in the region."""
    for each in instance_types:
        name = each["InstanceType"]
        architectures = each["ProcessorInfo"]["SupportedArchitectures"]
        architecture = next((known for known in ("x86_64", "arm64") if known in architectures), None)
        if architecture is None or name not in prices:
            continue
        memory = each["MemoryInfo"]["SizeInMiB"]
        gpus, gpu_model = _gpus(each.get("GpuInfo"))
        yield Facts(
            name=name,
            vcpus=each["VCpuInfo"]["DefaultVCpus"],
            memory=memory,
            schedulable_memory=schedulable_memory(
                memory, nitro=each.get("Hypervisor") == "nitro" and not each["BareMetal"]
            ),
            gpus=gpus,
            gpu_model=gpu_model,
            architecture=architecture,
            current_generation=each["CurrentGeneration"],
            on_demand_price=prices[name],
        )


def _gpus(gpu_info: dict[str, Any] | None) -> tuple[int, str]:
    """How many GPUs a job can ask for, and their model: NVIDIA's alone; a part of one has a count of 0 and is one device."""
    for gpu in (gpu_info or {}).get("Gpus", ()):
        if gpu["Manufacturer"] == "NVIDIA":
            return max(gpu["Count"], gpu.get("LogicalGpuCount", 1)), gpu["Name"]
    return 0, ""


def schedulable_memory(memory: int, *, nitro: bool) -> int:
    """MiB that jobs can have on an instance of nominally `memory` MiB.

    The kernel keeps 64 bytes for each page of 4 KiB, which is a 64th of the memory, and an amount of its own: with 79 MiB
    comes out what AWS says of an m4.large, 7,985 of 8,192 MiB. Under the Nitro hypervisor another 64th is missing, and the
    kernel's own amount is 150 MiB, or 70 below 4 GiB, as measurements of such instances tell. The agent's 32 MiB go off
    what is left.
    """
    if not nitro:
        return memory - memory // 64 - 79 - AGENT_RESERVE
    own = 150 if memory >= 4096 else 70
    return memory - memory // 32 - own - AGENT_RESERVE


def on_demand_prices(products: Iterable[dict[str, Any] | str], region: str) -> dict[str, float]:
    """US dollars an hour for Linux, by instance type."""
    prices = {}
    for each in products:
        product: dict[str, Any] = json.loads(each) if isinstance(each, str) else each
        attributes = product["product"]["attributes"]
        wanted = {**PRODUCT_FILTERS, "regionCode": region}
        if any(attributes.get(field) != value for field, value in wanted.items()):
            continue
        for term in product["terms"].get("OnDemand", {}).values():
            for dimension in term["priceDimensions"].values():
                price = float(dimension["pricePerUnit"].get("USD", 0))
                if price > 0:
                    prices[attributes["instanceType"]] = price
    return prices


def typical_spot_prices(facts: Iterable[Facts], history: Iterable[dict[str, Any]]) -> dict[str, tuple[float, str]]:
    """A price for each type, and what it comes from.

    `observed`: the median of the prices in the history, over all availability zones. Where there are none, the on-demand price
    times the median ratio of the observed types of its `family`, or of `all` types where its family has none either.
    Never above the on-demand price, which is where EC2 caps it.
    """
    facts = list(facts)
    recorded: dict[str, list[float]] = defaultdict(list)
    for entry in history:
        if entry["ProductDescription"].startswith("Linux/UNIX"):
            recorded[entry["InstanceType"]].append(float(entry["SpotPrice"]))
    observed = {
        each.name: min(median(recorded[each.name]), each.on_demand_price) for each in facts if each.name in recorded
    }
    ratios: dict[str, list[float]] = defaultdict(list)
    for each in facts:
        if each.name in observed:
            ratios[each.family].append(observed[each.name] / each.on_demand_price)
    overall = median([ratio for family in ratios.values() for ratio in family] or [1.0])
    prices = {}
    for each in facts:
        if each.name in observed:
            prices[each.name] = observed[each.name], "observed"
        elif each.family in ratios:
            prices[each.name] = round(each.on_demand_price * median(ratios[each.family]), 4), "family"
        else:
            prices[each.name] = round(each.on_demand_price * overall, 4), "all"
    return prices


if __name__ == "__main__":
    sys.exit(main())
