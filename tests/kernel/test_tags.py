"""Tags on compute environments, job queues, job definitions and jobs (User Guide "Tagging your AWS Batch resources")."""

from __future__ import annotations

import pytest
from story import ACCOUNT, Story

from batchyard.kernel.commands import ChangeTags
from batchyard.kernel.tagging import tags_of
from batchyard.kernel.tags import check_tags

ARNS = [ACCOUNT.arn(name) for name in ("compute-environment/ce", "job-queue/q", "job-definition/work:1")]


@pytest.mark.parametrize("arn", ARNS)
def test_tags_are_merged_and_removed(story: Story, arn: str) -> None:
    story.tell(ChangeTags(arn=arn, add={"a": "1", "b": "2"}))
    story.tell(ChangeTags(arn=arn, add={"b": "3", "c": ""}))
    assert tags_of(story.kernel.state, arn) == {"a": "1", "b": "3", "c": ""}
    story.tell(ChangeTags(arn=arn, remove=["a", "never was"]))
    assert tags_of(story.kernel.state, arn) == {"b": "3", "c": ""}


@pytest.mark.parametrize("arn", ARNS)
def test_fifty_tags_and_no_more(story: Story, arn: str) -> None:
    story.tell(ChangeTags(arn=arn, add={str(number): "" for number in range(50)}))
    text = "A resource cannot have more than 50 tags, got 51"
    assert story.refused(ChangeTags(arn=arn, add={"one more": ""})) == text
    story.tell(ChangeTags(arn=arn, add={"7": "another value"}))


def test_tags_of_a_job_are_kept_by_the_store(story: Story) -> None:
    arn = ACCOUNT.arn("job/any")
    story.kernel.apply(ChangeTags(arn=arn, add={"b": "2"}, job=(7, {"a": "1"})), story.now)
    assert story.kernel.take_effects().job_tags == {7: {"a": "1", "b": "2"}}


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "q",
        "arn:",
        ACCOUNT.arn("job-queue/none"),
        ACCOUNT.arn("job-definition/work"),
        ACCOUNT.arn("job-definition/work:9"),
        ACCOUNT.arn("job-definition/work:²"),
        ACCOUNT.arn("job-definition/work:" + "9" * 5000),
        ACCOUNT.arn("nothing/x"),
        "arn:aws:batch:mars:000000000000:job-queue/q",
    ],
)
def test_what_has_no_tags(story: Story, arn: str) -> None:
    assert story.refused(ChangeTags(arn=arn, add={"a": "1"})) == f"Resource {arn} not found."


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({"": "x"}, "A tag key has 1 to 128 characters, a tag value at most 256"),
        ({"k" * 129: "x"}, "A tag key has 1 to 128 characters, a tag value at most 256"),
        ({"k": "v" * 257}, "A tag key has 1 to 128 characters, a tag value at most 256"),
        ({"aws:x": "y"}, "Tag key 'aws:x' starts with the reserved prefix aws:"),
        ({"Aws:x": "y"}, "Tag key 'Aws:x' starts with the reserved prefix aws:"),
        (
            {"k": "a;b"},
            "Tags can only contain letters, numbers, spaces, and the following special characters: _ . : / = + - @",
        ),
    ],
)
def test_tags_that_are_refused(story: Story, tags: dict[str, str], text: str) -> None:
    assert story.refused(ChangeTags(arn=ARNS[1], add=tags)) == text


def test_tags_that_are_in_order() -> None:
    check_tags({"k" * 128: "v" * 256, "_.:/=+-@ é": "中", "x": ""})
    check_tags(None)
    check_tags({})
