"""Strict priority between queues, as clients see it."""

from __future__ import annotations

from typing import Any

from waiting import until
from work import Gate, describe, ended, new_environment, new_queue, reached, refused, register, submit

STRICT = {"batchyard:preemption": "lower-priority"}


def test_a_job_of_a_lower_queue_makes_way(batch: Any, gate: Gate) -> None:
    environment = new_environment(batch, vcpus=1)
    low, high = new_queue(batch, environment), new_queue(batch, environment, priority=9, tags=STRICT)
    victim = submit(batch, register(batch, f"{gate.script}; echo done"), queue=low)
    reached(batch, victim, "RUNNING")
    urgent = submit(batch, register(batch), queue=high)
    assert ended(batch, urgent)["status"] == "SUCCEEDED"
    until(lambda: len(describe(batch, victim)["attempts"]) == 1, "the end of the first attempt")
    gate.open()
    job = ended(batch, victim)
    assert job["status"] == "SUCCEEDED"
    reasons = [attempt["statusReason"] for attempt in job["attempts"]]
    assert reasons == [
        f"Preempted by a job of job queue {high}, which has a higher priority",
        "Essential container in task exited",
    ]


def test_who_is_not_to_be_preempted_is_left_alone(batch: Any, gate: Gate) -> None:
    environment = new_environment(batch, vcpus=1)
    low, high = new_queue(batch, environment), new_queue(batch, environment, priority=9, tags=STRICT)
    safe = submit(batch, register(batch, gate.script), queue=low, tags={"batchyard:preemptible": "never"})
    reached(batch, safe, "RUNNING")
    urgent = submit(batch, register(batch), queue=high)
    reached(batch, urgent, "RUNNABLE")
    gate.open()
    assert len(ended(batch, safe)["attempts"]) == 1
    assert ended(batch, urgent)["status"] == "SUCCEEDED"


def test_bad_values_are_refused(batch: Any) -> None:
    order = [{"order": 1, "computeEnvironment": "default"}]
    request = {"jobQueueName": "never-made", "priority": 1, "computeEnvironmentOrder": order}
    message = refused(batch.create_job_queue, **request, tags={"batchyard:preemption": "all"})
    assert "The tag batchyard:preemption must be lower-priority, got 'all'" in message
