"""Consumable resources: what jobs take and give back, who waits for whom, updates and their tokens."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from story import ACCOUNT, Story, submission

from batchyard.kernel.commands import (
    ChangeTags,
    CreateConsumableResource,
    DeleteConsumableResource,
    UpdateConsumableResource,
)
from batchyard.kernel.records import ConsumableResource
from batchyard.shapes import batch as shapes
from batchyard.store.store import Store


def creation(name: str, total: int | None = None, uuid: str = "first", **members: Any) -> CreateConsumableResource:
    request = shapes.CreateConsumableResourceRequest(consumable_resource_name=name, total_quantity=total, **members)
    return CreateConsumableResource(request, f"{name}-{uuid}")


def update(name: str, operation: str | None, quantity: int | None, token: str | None = None) -> Any:
    return UpdateConsumableResource(
        shapes.UpdateConsumableResourceRequest(
            consumable_resource=name, operation=operation, quantity=quantity, client_token=token
        )
    )


def needs(**quantities: int) -> dict[str, Any]:
    """The member of a submission that asks for these resources."""
    entries = [shapes.ConsumableResourceRequirement(consumable_resource=n, quantity=q) for n, q in quantities.items()]
    return {
        "consumable_resource_properties_override": shapes.ConsumableResourceProperties(consumable_resource_list=entries)
    }


def resource(story: Story, name: str) -> ConsumableResource:
    return story.kernel.state.consumable_resources[name]


def figures(story: Story, name: str) -> tuple[int, int, int]:
    """Total, in use, available, as DescribeConsumableResource shows them."""
    found = resource(story, name)
    return found.shown_total, found.in_use, found.available


class TestTaking:
    def test_what_a_job_takes_comes_back_when_it_ends(self) -> None:
        story = Story()
        story.tell(creation("licence", 3))
        story.submit("A", **needs(licence=2))
        story.ordered("start A#1")
        assert figures(story, "licence") == (3, 2, 1)
        story.run("A")
        assert figures(story, "licence") == (3, 0, 3)
        story.over()

    def test_a_job_waits_until_there_is_enough(self) -> None:
        story = Story()
        story.tell(creation("licence", 1))
        story.submit("A", **needs(licence=1))
        story.submit("B", **needs(licence=1))
        story.ordered("start A#1")
        assert story.status("B") == "RUNNABLE"
        story.run("A", code=1)
        story.ordered("start B#1")
        story.run("B")
        story.over()

    def test_all_at_once_or_nothing(self) -> None:
        story = Story()
        story.tell(creation("red", 1))
        story.tell(creation("blue", 0))
        story.submit("A", **needs(red=1, blue=1))
        assert figures(story, "red") == (1, 0, 1)
        story.submit("B", **needs(red=1))
        story.ordered("start B#1")
        story.tell(update("blue", "SET", 1))
        story.ordered()
        story.run("B")
        story.ordered("start A#1")
        assert (figures(story, "red"), figures(story, "blue")) == ((1, 1, 0), (1, 1, 0))
        story.run("A")

    def test_a_retry_gives_back_and_takes_again(self) -> None:
        story = Story()
        story.tell(creation("licence", 1))
        story.submit("A", attempts=2, **needs(licence=1))
        story.run("A", code=1)
        story.ordered("start A#1", "start A#2")
        assert figures(story, "licence") == (1, 1, 0)
        story.run("A")
        assert figures(story, "licence") == (1, 0, 1)

    def test_each_child_of_an_array_takes_for_itself(self) -> None:
        story = Story(vcpus=8)
        story.tell(creation("licence", 5))
        story.submit("A", array=4, **needs(licence=2))
        story.ordered("start A:0#1", "start A:1#1")
        assert figures(story, "licence") == (5, 4, 1)
        story.run("A:0")
        story.ordered("start A:2#1")
        story.run("A:1", "A:2")
        story.ordered("start A:3#1")
        story.run("A:3")
        assert story.status("A") == "SUCCEEDED"
        assert figures(story, "licence") == (5, 0, 5)

    def test_what_is_not_replenishable_is_used_up(self) -> None:
        story = Story()
        story.tell(creation("tokens", 3, resource_type="NON_REPLENISHABLE"))
        story.submit("A", attempts=2, **needs(tokens=1))
        assert figures(story, "tokens") == (2, 0, 2)
        story.run("A", code=1)
        assert figures(story, "tokens") == (1, 0, 1)
        story.run("A")
        story.submit("B", **needs(tokens=2))
        assert figures(story, "tokens") == (1, 0, 1)
        assert story.status("B") == "RUNNABLE"
        story.tell(update("tokens", "ADD", 1))
        assert story.status("B") == "STARTING"
        assert figures(story, "tokens") == (0, 0, 0)

    def test_a_task_that_is_given_back_unbegun_has_used_nothing_up(self) -> None:
        story = Story(vcpus=1, lead=10)
        story.tell(creation("tokens", 5, resource_type="NON_REPLENISHABLE"))
        story.tell(creation("licence", 5))
        story.submit("quick")
        story.begin("quick")
        story.pass_time(0.005)
        story.exit("quick")
        story.submit("A", **needs(tokens=1, licence=1))
        story.begin("A")
        story.submit("B", **needs(tokens=2, licence=2))
        assert story.status("B") == "STARTING"
        assert (figures(story, "tokens"), figures(story, "licence")) == ((2, 0, 2), (5, 3, 2))
        story.pass_time(1.5)
        story.ordered("start quick#1", "start A#1", "start B#1", "recall B#1")
        story.give_back("B")
        assert (figures(story, "tokens"), figures(story, "licence")) == ((4, 0, 4), (5, 1, 4))

    def test_a_terminated_job_gives_back(self) -> None:
        story = Story()
        story.tell(creation("licence", 1))
        story.submit("A", **needs(licence=1))
        story.begin("A")
        story.terminate("A")
        assert figures(story, "licence") == (1, 1, 0)
        story.exit("A", 143)
        assert figures(story, "licence") == (1, 0, 1)

    def test_a_lost_job_gives_back(self) -> None:
        story = Story()
        story.tell(creation("licence", 1))
        story.submit("A", **needs(licence=1))
        story.lose("A")
        assert figures(story, "licence") == (1, 0, 1)


class TestWaiting:
    def test_jobs_that_do_not_need_it_are_not_held_up(self) -> None:
        story = Story()
        story.tell(creation("licence", 0))
        story.submit("A", **needs(licence=1))
        story.submit("B")
        story.ordered("start B#1")

    def test_those_behind_that_need_it_too_do_not_overtake(self) -> None:
        story = Story(vcpus=8)
        story.tell(creation("licence", 2))
        story.submit("one", **needs(licence=1))
        story.submit("two", **needs(licence=2))
        story.submit("three", **needs(licence=1))
        story.ordered("start one#1")
        assert figures(story, "licence") == (2, 1, 1)
        assert story.status("three") == "RUNNABLE"
        story.run("one")
        story.ordered("start two#1")
        story.run("two")
        story.ordered("start three#1")

    def test_a_large_share_that_comes_free_starts_several(self) -> None:
        story = Story(vcpus=8)
        story.tell(creation("licence", 0))
        for label in "ABCD":
            story.submit(label, **needs(licence=1))
        story.tell(update("licence", "SET", 3))
        story.ordered("start A#1", "start B#1", "start C#1")

    def test_one_that_is_called_and_then_cancelled_does_not_leave_the_others_waiting(self) -> None:
        story = Story(vcpus=1)
        story.tell(creation("licence", 0))
        story.submit("busy")
        story.submit("A", **needs(licence=1))
        story.submit("B", **needs(licence=1))
        story.tell(update("licence", "SET", 1))
        story.cancel("A")
        story.run("busy")
        story.ordered("start busy#1", "start B#1")

    def test_the_head_of_a_line_that_lacks_something_else_lets_the_next_go(self) -> None:
        story = Story(vcpus=8)
        story.tell(creation("red", 0))
        story.tell(creation("blue", 0))
        story.submit("both", **needs(red=1, blue=1))
        story.submit("blues", **needs(blue=1))
        story.submit("reds", **needs(red=1))
        story.tell(update("blue", "SET", 1))
        assert story.status("both") == "RUNNABLE"
        story.ordered("start blues#1")
        story.run("blues")
        story.ordered()
        story.tell(update("red", "SET", 1))
        story.ordered("start both#1")
        story.run("both")
        story.ordered("start reds#1")

    def test_a_resource_that_does_not_exist_is_waited_for(self) -> None:
        story = Story()
        story.submit("A", **needs(nobody=1))
        assert story.status("A") == "RUNNABLE"
        assert story.why("A").text == "Needs 1 of consumable resource nobody, which does not exist."
        story.tell(creation("nobody", 1))
        story.ordered("start A#1")

    def test_queues_are_served_by_priority(self) -> None:
        story = Story(vcpus=8)
        story.queue("high", ["ce"], priority=9)
        story.tell(creation("licence", 0))
        story.submit("low", **needs(licence=1))
        story.submit("high", queue="high", **needs(licence=1))
        story.tell(update("licence", "SET", 1))
        story.ordered("start high#1")
        story.run("high")
        story.ordered("start low#1")

    def test_cancelled_ones_are_dropped(self) -> None:
        story = Story()
        story.tell(creation("licence", 0))
        story.submit("A", **needs(licence=1))
        story.submit("S", array=3, **needs(licence=1))
        story.cancel("A")
        story.cancel("S")
        story.tell(update("licence", "SET", 5))
        story.ordered()
        story.over()
        assert story.kernel.state.queues["q"].lines == {}

    def test_a_job_that_could_never_run_does_not_hold_up_the_line(self) -> None:
        story = Story(vcpus=2)
        story.tell(creation("licence", 0))
        story.submit("huge", vcpus=99, **needs(licence=1))
        story.submit("A", **needs(licence=1))
        story.tell(update("licence", "SET", 1))
        story.ordered("start A#1")
        assert (story.reason("huge") or "").startswith("MISCONFIGURATION:")


class TestReasons:
    def test_with_the_numbers(self) -> None:
        story = Story(vcpus=8)
        story.tell(creation("licence", 3))
        story.submit("A", **needs(licence=2))
        story.submit("B", **needs(licence=2))
        story.submit("C", **needs(licence=1))
        assert story.why("B").text == "Needs 2 of consumable resource licence, of which 1 of 3 is available."
        assert story.why("B").kind == "CONSUMABLE_RESOURCE"
        assert story.why("C").text == (
            f"Needs consumable resource licence after job {story.id('B')}, which needs 2 of it, of which 1 of 3 is available."
        )
        assert story.history("B")[-1] == ("RUNNABLE", story.why("B").text)

    def test_several_that_are_lacking(self) -> None:
        story = Story()
        story.tell(creation("red", 1))
        story.submit("A", **needs(red=2, blue=1))
        assert story.why("A").text == (
            "Needs 1 of consumable resource blue, which does not exist; 2 of consumable resource red, of which 1 of 1 is"
            " available."
        )


class TestUpdates:
    def test_set_add_remove(self) -> None:
        story = Story()
        story.tell(creation("licence", 5))
        assert story.tell(update("licence", "ADD", 3)).total_quantity == 8
        assert story.tell(update("licence", "REMOVE", 6)).total_quantity == 2
        assert story.tell(update("licence", "SET", 7)).total_quantity == 7
        assert story.tell(update(ACCOUNT.arn("consumable-resource/licence"), None, 1)).total_quantity == 1

    def test_less_than_is_in_use(self) -> None:
        story = Story(vcpus=8)
        story.tell(creation("licence", 10))
        story.submit("A", **needs(licence=5))
        story.submit("B", **needs(licence=3))
        story.tell(update("licence", "SET", 4))
        assert figures(story, "licence") == (8, 8, 0)
        story.run("A")
        assert figures(story, "licence") == (4, 3, 1)
        story.run("B")
        assert figures(story, "licence") == (4, 0, 4)

    def test_the_same_token_counts_once(self) -> None:
        story = Story()
        story.tell(creation("licence", 5))
        for _ in range(3):
            assert story.tell(update("licence", "ADD", 1, "token")).total_quantity == 6
        story.tell(update("licence", "ADD", 1, "other"))
        assert figures(story, "licence")[0] == 7
        text = story.refused(update("licence", "ADD", 2, "token"))
        assert text == "clientToken token was used for another update within the last 8 hours"

    def test_a_token_is_good_for_eight_hours(self) -> None:
        story = Story()
        story.tell(creation("licence", 5))
        story.tell(update("licence", "ADD", 1, "token"))
        story.pass_time(8 * 3600 - 1)
        story.tell(update("licence", "ADD", 1, "token"))
        assert figures(story, "licence")[0] == 6
        story.pass_time(1)
        story.tell(update("licence", "ADD", 1, "token"))
        assert figures(story, "licence")[0] == 7
        story.pass_time(9 * 3600)
        story.tell(update("licence", "SET", 1, "new"))
        assert list(resource(story, "licence").updates) == ["new"]

    @pytest.mark.parametrize(
        ("operation", "quantity", "text"),
        [
            ("SET", -1, "quantity must be given and not be negative, got -1"),
            ("SET", None, "quantity must be given and not be negative, got None"),
            ("DOUBLE", 1, "operation must be SET, ADD or REMOVE, got DOUBLE"),
            ("REMOVE", 6, "Cannot remove 6 from consumable resource licence: its total quantity is 5"),
            ("ADD", 2**63 - 1, "The total quantity cannot be more than 9223372036854775807, got 9223372036854775812"),
        ],
    )
    def test_refusals(self, operation: str, quantity: int | None, text: str) -> None:
        story = Story()
        story.tell(creation("licence", 5))
        assert story.refused(update("licence", operation, quantity, "token")) == text
        assert story.refused(update("nobody", "SET", 1)) == "ConsumableResource nobody not found."


class TestLives:
    def test_creation_refused(self) -> None:
        story = Story()
        story.tell(creation("licence", 5))
        assert story.refused(creation("licence", 1)) == "Object already exists"
        assert story.refused(creation("a/b")) == "consumableResourceName should match valid pattern"
        assert story.refused(creation("x", -1)) == "totalQuantity must not be negative, got -1"
        text = story.refused(creation("x", 1, resource_type="ENDLESS"))
        assert text == "resourceType must be REPLENISHABLE or NON_REPLENISHABLE, got ENDLESS"

    def test_deletion_while_in_use(self) -> None:
        story = Story()
        story.tell(creation("licence", 1))
        story.submit("A", **needs(licence=1))
        story.submit("B", **needs(licence=1))
        story.tell(update("licence", "ADD", 0, "token"))
        story.tell(DeleteConsumableResource("licence"))
        story.tell(DeleteConsumableResource("licence"))
        story.begin("A")
        assert story.status("B") == "RUNNABLE"
        story.tell(creation("licence", 1, uuid="second"))
        story.ordered("start A#1", "start B#1")
        assert figures(story, "licence") == (1, 1, 0)
        story.exit("A")
        assert figures(story, "licence") == (1, 1, 0)
        story.run("B")
        assert figures(story, "licence") == (1, 0, 1)
        assert resource(story, "licence").updates == {}

    def test_tags(self) -> None:
        story = Story()
        story.tell(creation("licence", 1, tags={"a": "1"}))
        arn = ACCOUNT.arn("consumable-resource/licence")
        story.tell(ChangeTags(arn=arn, add={"b": "2"}))
        story.tell(ChangeTags(arn=arn, remove=["a"]))
        assert resource(story, "licence").detail.tags == {"b": "2"}


class TestRequirements:
    @pytest.mark.parametrize(
        ("entries", "text"),
        [
            ([("", 1)], "Consumable resource '' is neither a name nor an ARN of a consumable resource"),
            ([("arn:aws:batch:eu-west-1:123456789012:job-queue/q", 1)], "is neither a name nor an ARN"),
            ([("arn:aws:batch:us-east-1:123456789012:consumable-resource/a", 1)], "is of another account or Region"),
            ([("a", 0)], "Consumable resource a must have a quantity of at least 1, got 0"),
            (
                [("a", 1), (ACCOUNT.arn("consumable-resource/a"), 1)],
                "Consumable resource a is given twice",
            ),
        ],
    )
    def test_refusals(self, entries: list[tuple[str, int | None]], text: str) -> None:
        requirements = [shapes.ConsumableResourceRequirement(consumable_resource=n, quantity=q) for n, q in entries]
        properties = shapes.ConsumableResourceProperties(consumable_resource_list=requirements)
        assert text in Story().refused(submission(consumable_resource_properties_override=properties))

    def test_of_the_definition_and_of_the_submission(self) -> None:
        story = Story()
        story.tell(creation("red", 1))
        story.tell(creation("blue", 1))
        of_red = needs(red=1)["consumable_resource_properties_override"]
        story.definition("reds", consumable_resource_properties=of_red)
        story.submit("A", definition="reds")
        assert (figures(story, "red"), figures(story, "blue")) == ((1, 1, 0), (1, 0, 1))
        story.submit("B", definition="reds", **needs(blue=1))
        assert figures(story, "blue") == (1, 1, 0)


class TestRestart:
    def test_everything_is_as_it_was(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "state.sqlite")
        store.open()
        loop = asyncio.new_event_loop()
        story = Story(vcpus=8, save=lambda effects: loop.run_until_complete(store.save(effects)))
        story.tell(creation("licence", 3))
        story.tell(creation("tokens", 9, resource_type="NON_REPLENISHABLE"))
        story.tell(update("licence", "ADD", 1, "token"))
        story.tell(creation("deleted", 1))
        story.submit("A", **needs(licence=1, tokens=2, deleted=1))
        story.tell(DeleteConsumableResource("deleted"))
        story.submit("S", array=5, **needs(licence=2))
        story.submit("B", **needs(licence=1))
        story.ordered("start A#1", "start S:0#1")
        with store.load() as loaded:
            story.restart(loaded)
        assert figures(story, "licence") == (4, 3, 1)
        assert figures(story, "tokens") == (7, 0, 7)
        assert story.tell(update("licence", "ADD", 1, "token")).total_quantity == 4
        story.run("A")
        story.ordered("start S:1#1")
        story.run("S:0", "S:1")
        story.ordered("start S:2#1", "start S:3#1")
        story.run("S:2", "S:3")
        story.ordered("start S:4#1", "start B#1")
        story.run("S:4", "B")
        story.over()
        store.close()
        loop.close()


class TestRandomLives:
    """Whatever happens, the figures add up and nobody waits for what is there: the invariants are checked after every step."""

    @pytest.mark.parametrize("seed", range(25))
    def test_everybody_runs_in_the_end(self, seed: int, tmp_path: Path) -> None:
        choose = random.Random(seed)
        store = Store(tmp_path / "state.sqlite")
        store.open()
        loop = asyncio.new_event_loop()
        story = Story(
            vcpus=choose.choice((1, 3, 16)), save=lambda effects: loop.run_until_complete(store.save(effects))
        )
        story.queue("other", ["ce"], priority=choose.choice((0, 5)))
        names = ("red", "green", "blue")
        for number in range(120):
            _anything(story, choose, names, number)
            if choose.random() < 0.05:
                with store.load() as loaded:
                    story.restart(loaded)
        for name in names:
            if name not in story.kernel.state.consumable_resources:
                story.tell(creation(name, 0, uuid="last"))
            story.tell(update(name, "SET", 10_000))
        while story.kernel.state.tasks:
            _end_one(story, choose)
        story.given("start"), story.given("stop")
        story.over()
        assert all(queue.lines == {} for queue in story.kernel.state.queues.values())
        store.close()
        loop.close()


def _anything(story: Story, choose: random.Random, names: tuple[str, ...], number: int) -> None:
    name = choose.choice(names)
    known = name in story.kernel.state.consumable_resources
    match choose.choice(("submit", "submit", "submit", "array", "end", "end", "cancel", "update", "create", "delete")):
        case "submit":
            story.submit(f"J{number}", queue=choose.choice(("q", "other")), attempts=2, **_some(choose, names))
        case "array":
            story.submit(f"J{number}", queue=choose.choice(("q", "other")), array=3, **_some(choose, names))
        case "end" if story.kernel.state.tasks:
            _end_one(story, choose)
        case "cancel" if story.kernel.state.jobs:
            label = story.label(choose.choice(sorted(story.kernel.state.jobs)))
            (story.cancel if choose.random() < 0.5 else story.terminate)(label)
        case "update" if known:
            story.tell(update(name, "SET", choose.randrange(5)))
        case "create" if not known:
            kind = choose.choice(("REPLENISHABLE", "NON_REPLENISHABLE"))
            story.tell(creation(name, choose.randrange(5), uuid=str(number), resource_type=kind))
        case "delete" if choose.random() < 0.3:
            story.tell(DeleteConsumableResource(name))


def _some(choose: random.Random, names: tuple[str, ...]) -> dict[str, Any]:
    return needs(**{name: choose.randrange(1, 4) for name in names if choose.random() < 0.4})


def _end_one(story: Story, choose: random.Random) -> None:
    job = story.kernel.state.tasks[choose.choice(sorted(story.kernel.state.tasks))]
    story.exit(story.label(job.id), choose.choice((0, 0, 1)))
