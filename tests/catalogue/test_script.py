"""`scripts/build_instance_catalogue.py` on a small saved sample of AWS's answers, and on answers that a stub gives."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from batchyard.catalogue import parse

ANSWERS = Path(__file__).parent / "answers"
"""Ten types, with prices that are not asked for among the products, and `instance_types.csv`: what is to come of them."""

EXPECTED = (ANSWERS / "instance_types.csv").read_text()


def load_script() -> Any:
    path = Path(__file__).parents[2] / "scripts" / "build_instance_catalogue.py"
    spec = importlib.util.spec_from_file_location("build_instance_catalogue", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = load_script()


def build(output: Path, *options: str, answers: Path = ANSWERS) -> int:
    arguments = ["--from-files", str(answers), "--date", "2026-10-20", "--output", str(output), *options]
    return int(script.main(arguments))


def test_saved_answers_become_the_file(tmp_path: Path) -> None:
    assert build(tmp_path / "new.csv") == 0
    assert (tmp_path / "new.csv").read_text() == EXPECTED


def test_the_same_answers_give_the_same_file_again(tmp_path: Path) -> None:
    shutil.copy(ANSWERS / "instance_types.csv", tmp_path / "new.csv")
    assert build(tmp_path / "new.csv") == 0
    assert (tmp_path / "new.csv").read_text() == EXPECTED


def test_a_type_that_is_gone_stays_as_a_former_one(tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    shutil.copytree(ANSWERS, answers)
    file = answers / "describe-instance-types.json"
    types = [each for each in json.loads(file.read_text())["InstanceTypes"] if each["InstanceType"] != "g4dn.xlarge"]
    file.write_text(json.dumps({"InstanceTypes": types}))
    shutil.copy(ANSWERS / "instance_types.csv", tmp_path / "new.csv")
    assert build(tmp_path / "new.csv", answers=answers) == 0
    before, after = parse(EXPECTED).types["g4dn.xlarge"], parse((tmp_path / "new.csv").read_text()).types["g4dn.xlarge"]
    assert before.current_generation
    assert not after.current_generation
    assert (after.vcpus, after.gpu_model, after.spot_price) == (4, "T4", 0.263)


def test_where_the_prices_are_from_is_another_region(tmp_path: Path) -> None:
    assert build(tmp_path / "new.csv", "--region", "eu-west-1", "--source", "mine") == 0
    found = parse((tmp_path / "new.csv").read_text())
    assert found.source == "mine"
    assert {name: each.on_demand_price for name, each in found.types.items()} == {"c6i.large": 0.097}


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        (script.TYPES, None, "No such file"),
        (script.TYPES, "{", "Expecting"),
        (script.SPOT, '{"Spot": []}', "there is no 'SpotPriceHistory' in them"),
        (script.PRODUCTS, '{"PriceList": []}', "no instance type that has an on-demand price for Linux in us-east-1"),
    ],
)
def test_answers_that_are_none(
    file: str, text: str | None, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = tmp_path / "answers"
    shutil.copytree(ANSWERS, answers)
    if text is None:
        (answers / file).unlink()
    else:
        (answers / file).write_text(text)
    assert build(tmp_path / "new.csv", answers=answers) == 1
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "new.csv").exists()


@pytest.mark.parametrize(
    ("memory", "nitro", "schedulable"),
    [
        # What the kernel sees of an m4.large is 7985 MiB; the agent keeps 32.
        (8_192, False, 7_985 - 32),
        (8_192, True, 8_192 - 256 - 150 - 32),
        (4_096, True, 4_096 - 128 - 150 - 32),
        (2_048, True, 2_048 - 64 - 70 - 32),
    ],
)
def test_schedulable_memory(memory: int, nitro: bool, schedulable: int) -> None:
    assert script.schedulable_memory(memory, nitro=nitro) == schedulable


def stub(monkeypatch: pytest.MonkeyPatch) -> tuple[Stubber, Stubber]:
    credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    ec2 = boto3.client("ec2", region_name="us-east-1", **credentials)
    pricing = boto3.client("pricing", region_name="us-east-1", **credentials)
    clients = {"ec2": ec2, "pricing": pricing}
    monkeypatch.setattr(boto3, "client", lambda service, **_: clients[service])
    return Stubber(ec2), Stubber(pricing)


def test_aws_is_asked_page_by_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ec2, pricing = stub(monkeypatch)
    answers = script.read_answers(ANSWERS)
    ec2.add_response("describe_instance_types", {"InstanceTypes": answers.instance_types[:5], "NextToken": "more"}, {})
    ec2.add_response("describe_instance_types", {"InstanceTypes": answers.instance_types[5:]}, {"NextToken": "more"})
    pricing.add_response("get_products", {"PriceList": answers.products}, {"ServiceCode": "AmazonEC2", "Filters": ANY})
    spot_request = {"ProductDescriptions": ["Linux/UNIX"], "StartTime": ANY}
    ec2.add_response("describe_spot_price_history", {"SpotPriceHistory": answers.spot_prices}, spot_request)
    with ec2, pricing:
        saved, output = tmp_path / "saved", tmp_path / "new.csv"
        arguments = ["--date", "2026-10-20", "--save-answers", str(saved), "--output", str(output)]
        assert script.main(arguments) == 0
        ec2.assert_no_pending_responses()
        pricing.assert_no_pending_responses()
    assert output.read_text() == EXPECTED
    assert build(tmp_path / "again.csv", answers=saved) == 0
    assert (tmp_path / "again.csv").read_text() == EXPECTED


def test_aws_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ec2, _ = stub(monkeypatch)
    ec2.add_client_error("describe_instance_types", "UnauthorizedOperation", "You are not authorized")
    with ec2:
        assert script.main(["--output", str(tmp_path / "new.csv")]) == 1
    assert "AWS gave no answer: An error occurred (UnauthorizedOperation)" in capsys.readouterr().err
