"""The account of every member (docs/reference/compatibility.toml) matches the model, the code, the page and the tests."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest

from batchyard.api.batch.desk import Desk
from batchyard.api.batch.service import batch_service
from compatibility.evidence import Evidence, attribute_name
from compatibility.script import compatibility_script

TESTS = Path(__file__).parents[1]
GENERIC = ("compatibility", "test_cli_skeletons.py", "test_random_requests.py")
"""These name members because the model does: they say nothing of what a member does."""


script = compatibility_script()


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    return tomllib.loads(script.TABLE.read_text())


@pytest.fixture(scope="module")
def account(table: dict[str, Any]) -> Any:
    return script.Account(script.batch_model(), table)


def test_model_and_table_match(account: Any) -> None:
    assert list(account.complaints()) == []


def test_the_page_is_up_to_date(account: Any) -> None:
    text = "\n".join(script.page(account))
    assert script.PAGE.read_text() == text, "run scripts/generate_compatibility.py"


def test_every_operation_has_a_handler(account: Any) -> None:
    handled = batch_service(cast(Desk, None)).handlers.keys()
    assert {operation.name for operation in account.operations} == handled


def test_every_effective_member_is_named_by_a_test(account: Any) -> None:
    files = [path for path in TESTS.rglob("*.py") if not set(GENERIC) & set(path.relative_to(TESTS).parts)]
    evidence = Evidence(files)
    unnamed = [
        f"{structure}.{member}"
        for structure in sorted(account.structures)
        for member, verdict in account.verdicts(structure).items()
        if verdict.status == script.EFFECTIVE and not evidence.names(member, ways_into(account, structure))
    ]
    assert unnamed == [], "no test names them; ways in: " + str(
        {each.partition(".")[0]: ways_into(account, each.partition(".")[0]) for each in unnamed}
    )


def ways_into(account: Any, structure: str) -> list[str]:
    """What leads to a structure: its class, the members that hold it, the operation that it belongs to."""
    operation = structure.removesuffix("Request").removesuffix("Response")
    ways = {structure}
    if any(each.name == operation for each in account.operations):
        ways.add(operation)
    for place in account.places[structure]:
        last = place.rpartition(".")[2].rpartition(" ")[2].rstrip("[]{}")
        if last:
            ways.add(last)
    return sorted(ways)


class TestTheChecksThemselves:
    def changed(self, table: dict[str, Any], **structures: dict[str, Any]) -> list[str]:
        edited = {**copy.deepcopy(table), **structures}
        return list(script.Account(script.batch_model(), edited).complaints())

    def test_a_member_that_the_table_lacks(self, table: dict[str, Any]) -> None:
        complaints = self.changed(table, CancelJobRequest={"effective": ["jobId"]})
        assert complaints == ["CancelJobRequest: the member reason is not accounted for"]

    def test_a_structure_that_the_table_lacks(self, table: dict[str, Any]) -> None:
        assert "Tmpfs: the member size is not accounted for" in self.changed(table, Tmpfs={})

    def test_what_the_model_lacks(self, table: dict[str, Any]) -> None:
        edited = {"effective": ["jobId", "reason", "mood"], "refused": {"No.": ["reason"]}}
        complaints = self.changed(table, CancelJobRequest=edited, Weather={"effective": ["wind"]})
        assert complaints == [
            "Weather: the model has no such structure",
            "CancelJobRequest: the model has no member mood",
            "CancelJobRequest: the member reason is accounted for 2 times",
        ]

    def test_a_member_is_one_of_three(self, table: dict[str, Any]) -> None:
        with pytest.raises(KeyError, match="not-yet is none of effective, stored, refused"):
            self.changed(table, CancelJobRequest={"effective": ["jobId"], "not-yet": ["reason"]})

    def test_a_reason_has_to_be_written_down(self, table: dict[str, Any]) -> None:
        with pytest.raises(KeyError):
            self.changed(table, CancelJobRequest={"stored": {"because": ["jobId", "reason"]}})
        assert "reasons: nothing has the reason boredom" in self.changed(
            table, reasons={**table["reasons"], "boredom": "It was not interesting."}
        )

    def test_what_counts_as_evidence(self, tmp_path: Path) -> None:
        file = tmp_path / "test_some.py"
        file.write_text(
            '''
SIZES = {"sharedMemorySize": 5}

def helper(batch):
    return batch.describe_jobs(jobs=[])

def test_one(batch):
    """attempts"""
    linuxParameters = "tmpfs of size 5"
    helper(batch)[0]["stoppedAt"]

@parametrize("given", [{"linuxParameters": {"maxSwap": 1}}])
def test_two(given):
    submit(**SIZES, container_linuxParameters=given)  # swappiness
'''
        )
        evidence = Evidence([file])
        assert evidence.names("stoppedAt", ["DescribeJobs"])
        assert evidence.names("jobs", ["DescribeJobs"])
        assert not evidence.names("stoppedAt", ["ListJobs"]), "another operation"
        assert not evidence.names("attempts", ["DescribeJobs"]), "only in the docstring"
        assert not evidence.names("tmpfs", ["DescribeJobs"]), "only a part of a string"
        assert evidence.names("maxSwap", ["linuxParameters"])
        assert evidence.names("sharedMemorySize", ["linuxParameters"]), "in a constant"
        assert not evidence.names("swappiness", ["linuxParameters"]), "only in a comment"
        assert not evidence.names("maxSwap", ["DescribeJobs"]), "in another test"

    def test_spellings(self) -> None:
        assert attribute_name("minvCpus") == "min_vcpus"
        assert attribute_name("SubmitJob") == "submit_job"
        assert attribute_name("sizeInGiB") == "size_in_gib"
