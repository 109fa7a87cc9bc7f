"""`jobStateTimeLimitActions` through the API.

The shortest limit is ten minutes, so the clock of a blocked job is turned back in the store of a stopped server instead of
waiting for it.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from test_why import ask
from training import new_training_queue, payload, submit_training, training_reached

from server_process import ServerProcess
from work import describe, ended, new_environment, new_queue, register, settled_queue, submit

NEVER = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
MAX_VCPUS = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
SERVICE_MAXIMUM = "MISCONFIGURATION:SERVICE_ENVIRONMENT_MAX_RESOURCE"
HUGE = {"container_memory": "999999999"}


def limit(reason: str, seconds: int = 600, action: str = "CANCEL") -> dict[str, Any]:
    return {"reason": reason, "state": "RUNNABLE", "maxTimeSeconds": seconds, "action": action}


def limits_of(batch: Any, queue: str) -> Any:
    return batch.describe_job_queues(jobQueues=[queue])["jobQueues"][0]["jobStateTimeLimitActions"]


def why(server: ServerProcess, job_id: str) -> str:
    status, answer = ask(server, {"jobId": job_id})
    assert status == 200, answer
    return str(answer["reason"])


def let_time_pass(server: ServerProcess, job_id: str, seconds: int) -> None:
    """Moves the moment from which a job has been blocked into the past."""
    with sqlite3.connect(server.data_dir / "batchyard.db") as connection:
        [[document]] = connection.execute("SELECT blocked FROM jobs WHERE id = ?", (job_id,))
        blocked = json.loads(document)
        blocked["since"] -= 1000 * seconds
        connection.execute("UPDATE jobs SET blocked = ? WHERE id = ?", (json.dumps(blocked).encode(), job_id))


def test_limits_are_kept_and_why_says_when_they_will_be_reached(server: ServerProcess, batch: Any) -> None:
    given = [limit(NEVER, 600), limit(MAX_VCPUS, 86_400)]
    queue = new_queue(batch, new_environment(batch), jobStateTimeLimitActions=given)
    assert limits_of(batch, queue) == given
    before = datetime.now(UTC).replace(microsecond=0)
    job_id = submit(batch, register(batch, **HUGE), queue=queue)
    array = submit(batch, register(batch, **HUGE), queue=queue, arrayProperties={"size": 3})
    pattern = r"It will be cancelled at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC by the queue's job state time limit\.$"

    def due(blocked: str) -> float:
        found = re.search(pattern, why(server, blocked))
        assert found is not None, why(server, blocked)
        return (datetime.fromisoformat(f"{found[1]}+00:00") - before).total_seconds()

    assert 600 <= due(job_id) < 700
    assert 600 <= due(f"{array}:1") < 700
    batch.update_job_queue(jobQueue=queue, jobStateTimeLimitActions=[limit(NEVER, 86_400)])
    settled_queue(batch, queue)
    assert limits_of(batch, queue) == [limit(NEVER, 86_400)]
    assert 86_400 <= due(job_id) < 86_500
    batch.update_job_queue(jobQueue=queue, jobStateTimeLimitActions=[])
    settled_queue(batch, queue)
    assert limits_of(batch, queue) == []
    assert "time limit" not in why(server, job_id)
    assert describe(batch, job_id)["statusReason"].startswith(f"{NEVER} - The job resource requirement")
    for blocked in (job_id, array):
        batch.terminate_job(jobId=blocked, reason="cleared away")


def test_the_job_is_cancelled_when_its_time_has_come(new_server: Callable[..., ServerProcess]) -> None:
    server = new_server().start()
    batch = server.client("batch")
    queue = new_queue(batch, jobStateTimeLimitActions=[limit(NEVER)])
    jobs = [submit(batch, register(batch, **HUGE), queue=queue) for _ in range(2)]
    array = submit(batch, register(batch, **HUGE), queue=queue, arrayProperties={"size": 3})
    after = submit(batch, register(batch), queue=queue, dependsOn=[{"jobId": jobs[0]}])
    server.stop()
    let_time_pass(server, jobs[0], 600)
    let_time_pass(server, array, 600)
    let_time_pass(server, jobs[1], 500)
    server.start()
    said = f"Canceled by JobStateTimeLimit action due to reason: {NEVER}"
    job = ended(batch, jobs[0])
    assert (job["status"], job["statusReason"], job["isCancelled"]) == ("FAILED", said, True)
    assert ended(batch, after)["statusReason"] == "Dependent Job failed"
    assert ended(batch, array)["statusReason"] == said
    assert describe(batch, f"{array}:2")["statusReason"] == said
    assert describe(batch, jobs[1])["status"] == "RUNNABLE"
    assert said in why(server, jobs[0])


def test_a_service_job_is_terminated(new_server: Callable[..., ServerProcess]) -> None:
    server = new_server().start()
    batch = server.client("batch")
    given = [limit(SERVICE_MAXIMUM, 700, "TERMINATE")]
    queue = new_training_queue(batch, instances=2, jobStateTimeLimitActions=given)
    assert limits_of(batch, queue) == given
    job_id = submit_training(batch, queue, payload(instances=3))
    assert "It will be terminated at " in why(server, job_id)
    server.stop()
    let_time_pass(server, job_id, 700)
    server.start()
    job = training_reached(batch, job_id, "FAILED")
    assert job["statusReason"] == f"Terminated by JobStateTimeLimit action due to reason: {SERVICE_MAXIMUM}"
    assert job["isTerminated"]
