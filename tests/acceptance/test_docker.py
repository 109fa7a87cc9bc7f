"""The docker runtime behind the real API: a server whose jobs are containers of a real Docker Engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dockerd import docker_daemon
from response_shapes import watch
from training import new_training_queue, payload, submit_training, trained, training_reached

from server_process import ServerProcess
from waiting import until
from work import container, describe, ended, register, submit

pytestmark = pytest.mark.docker

IMAGE = "bb:1"


@pytest.fixture(scope="module")
def docker_url() -> Iterator[str]:
    with docker_daemon() as daemon:
        yield daemon.url


@pytest.fixture(scope="module")
def docker_server(docker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("docker-server") / "data"
    server = ServerProcess(folder, runtime="auto", docker_host=docker_url, overcommit=2)
    server.configure_client = watch
    with server:
        yield server
        assert "Traceback" not in server.log(), server.log()


@pytest.fixture
def batch(docker_server: ServerProcess) -> Any:
    return docker_server.client("batch")


@pytest.fixture
def read_log(docker_server: ServerProcess) -> Callable[[dict[str, Any]], list[str]]:
    def read(job: dict[str, Any]) -> list[str]:
        events = docker_server.client("logs").get_log_events(
            logGroupName="/aws/batch/job", logStreamName=job["container"]["logStreamName"], startFromHead=True
        )["events"]
        return [event["message"] for event in events]

    return read


def run(batch: Any, script: str, **more: Any) -> dict[str, Any]:
    return ended(batch, submit(batch, register(batch, script, container_image=IMAGE), **more))


def test_auto_takes_docker_where_it_answers(docker_server: ServerProcess) -> None:
    assert "NO CONTAINERS" not in docker_server.log()


def test_a_container_job_succeeds_with_its_log(batch: Any, read_log: Any) -> None:
    job = run(batch, "echo $AWS_BATCH_JOB_ID; test -e /bin/busybox && echo inside >&2")
    assert (job["status"], job["container"]["exitCode"]) == ("SUCCEEDED", 0)
    assert sorted(read_log(job)) == sorted([job["jobId"], "inside"])


def test_a_failing_container_is_retried(batch: Any) -> None:
    job = run(batch, "exit $((AWS_BATCH_JOB_ATTEMPT * 3))", retryStrategy={"attempts": 2})
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [3, 6]
    assert job["statusReason"] == "Essential container in task exited"


def test_too_much_memory_is_reported_as_on_aws(batch: Any) -> None:
    job = run(batch, "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived")
    assert job["container"]["exitCode"] == 137
    assert job["container"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"


def test_an_image_that_cannot_be_pulled(batch: Any) -> None:
    definition = register(batch, container_image="127.0.0.1:1/nobody/nothing:1")
    job = ended(batch, submit(batch, definition))
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    assert job["container"]["reason"].startswith("CannotPullContainerError: ")
    assert "exitCode" not in job["container"]


def test_an_array_and_its_reducer(batch: Any) -> None:
    array = submit(batch, register(batch, container_image=IMAGE), arrayProperties={"size": 4})
    reducer = submit(batch, register(batch, container_image=IMAGE), dependsOn=[{"jobId": array}])
    assert ended(batch, reducer)["status"] == "SUCCEEDED"
    assert describe(batch, array)["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 4


def test_terminate_ends_a_container(batch: Any) -> None:
    definition = register(batch, "trap 'exit 0' TERM; while :; do sleep 0.1; done", container_image=IMAGE)
    job_id = submit(batch, definition)
    until(lambda: describe(batch, job_id)["status"] == "RUNNING", "the container")
    batch.terminate_job(jobId=job_id, reason="enough")
    job = ended(batch, job_id)
    assert (job["status"], job["statusReason"], job["isTerminated"]) == ("FAILED", "enough", True)


def test_a_container_outlives_a_killed_server(docker_server: ServerProcess, tmp_path: Path, read_log: Any) -> None:
    batch = docker_server.client("batch")
    flag = tmp_path / "go"
    volumes = [{"name": "flags", "host": {"sourcePath": str(tmp_path)}}]
    batch.register_job_definition(
        jobDefinitionName="waits-for-a-flag",
        type="container",
        containerProperties=container(
            "echo begun; until test -e /flags/go; do sleep 0.05; done; echo done; exit 5",
            image=IMAGE,
            volumes=volumes,
            mountPoints=[{"sourceVolume": "flags", "containerPath": "/flags", "readOnly": True}],
        ),
    )
    job_id = submit(batch, "waits-for-a-flag")
    until(lambda: describe(batch, job_id)["status"] == "RUNNING", "the container")
    docker_server.kill()
    flag.touch()
    docker_server.start()
    job = ended(batch, job_id)
    assert (len(job["attempts"]), job["container"]["exitCode"]) == (1, 5)
    assert read_log(job) == ["begun", "done"]


def test_a_training_job_in_containers(batch: Any, docker_server: ServerProcess) -> None:
    queue = new_training_queue(batch)
    script = "cat /opt/ml/input/config/hyperparameters.json > /opt/ml/model/$TRAINING_JOB_NAME; hostname >> /opt/ml/model/hosts"
    job = trained(
        batch, submit_training(batch, queue, payload(script, image=IMAGE, instances=2, HyperParameters={"epochs": "3"}))
    )
    assert (job["status"], job["statusReason"]) == ("SUCCEEDED", "Received status from SageMaker: Completed")
    name = job["latestAttempt"]["serviceResourceId"]["value"].rpartition("/")[2]
    model = docker_server.data_dir / "training" / job["jobId"] / "1" / "model"
    assert (model / name).read_text() == '{"epochs": "3"}'
    assert len(set((model / "hosts").read_text().split())) == 2


def test_a_training_job_without_an_entry_point_runs_the_image_s_own_with_train(batch: Any) -> None:
    algorithm = {"TrainingImage": IMAGE, "TrainingInputMode": "File"}
    job = trained(batch, submit_training(batch, new_training_queue(batch), payload(AlgorithmSpecification=algorithm)))
    assert job["status"] == "FAILED"
    assert job["statusReason"].startswith("Received status from SageMaker: ClientError: CannotStartContainerError: ")
    assert '"train": executable file not found' in job["statusReason"]


def test_a_training_job_s_failure_file_survives_a_killed_server(docker_server: ServerProcess) -> None:
    batch = docker_server.client("batch")
    script = "until test -e /opt/ml/model/go; do sleep 0.05; done; echo out of luck > /opt/ml/output/failure; exit 3"
    job_id = submit_training(batch, new_training_queue(batch), payload(script, image=IMAGE))
    training_reached(batch, job_id, "RUNNING")
    docker_server.kill()
    (docker_server.data_dir / "training" / job_id / "1" / "model" / "go").touch()
    docker_server.start()
    job = trained(batch, job_id)
    assert job["statusReason"] == "Received status from SageMaker: AlgorithmError: out of luck, exit code: 3"
    assert len(job["attempts"]) == 1
