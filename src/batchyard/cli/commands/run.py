"""`batchyard run`: a command becomes a job, and the terminal shows how it fares."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from itertools import islice
from types import FrameType
from typing import NoReturn

import click

from batchyard.cli.client import Client, Json
from batchyard.cli.failures import ExitCode, Failure, usage_failure
from batchyard.cli.following import follow
from batchyard.cli.invocation import Command, Invocation, complete_jobs, complete_queues, json_option, shared_options
from batchyard.cli.job_texts import array_size, exit_code_of, reason_of, short_id
from batchyard.cli.lookup import whole_id
from batchyard.cli.progress import Progress, new_progress
from batchyard.cli.submission import HOST_IMAGE, Submission, environment_of, memory_of, name_of, submit
from batchyard.cli.terminal import one_line, print_json, print_line, print_note

SHOWN_CHILDREN = 5


@click.command(
    cls=Command,
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    examples=[
        ("batchyard run -- python3 $PWD/train.py --epochs 3", "follow it, exit as it exits"),
        ("batchyard run --image alpine --memory 256 -- uname -a", "in a container"),
        ("batchyard run --array 100 -- sh -c 'echo $AWS_BATCH_JOB_ARRAY_INDEX'", "a hundred times"),
        ("batchyard run --depends-on last -- $PWD/reduce.sh", "after the newest job has succeeded"),
        ("ID=$(batchyard run --detach --env TOKEN -- $PWD/long.sh)", "in a script"),
    ],
)
@click.option(
    "--image",
    metavar="IMAGE",
    help=f"Container image. Without it the image is named {HOST_IMAGE}: fine where jobs are processes, no image to pull"
    " where they are containers.",
)
@click.option("--vcpus", type=click.IntRange(min=1), metavar="N", default=1, show_default=True, help="Cores.")
@click.option(
    "--memory", metavar="AMOUNT", default="1024", show_default=True, help="Hard limit, in MiB, or as 512m or 2g."
)
@click.option("--array", type=int, metavar="N", help="Run it N times: AWS_BATCH_JOB_ARRAY_INDEX is 0 to N-1.")
@click.option(
    "-e", "--env", "env", multiple=True, metavar="K=V", help="Environment variable; only K takes the caller's value."
)
@click.option(
    "--depends-on",
    shell_complete=complete_jobs,
    multiple=True,
    metavar="JOB",
    help="Begin after this job has succeeded.",
)
@click.option(
    "--queue", metavar="QUEUE", shell_complete=complete_queues, default="default", show_default=True, help="Job queue."
)
@click.option("--name", metavar="NAME", help="Name of the job. Default: the program's.")
@click.option("--timeout", type=int, metavar="SECONDS", help="End an attempt that runs longer, at least 60.")
@click.option("--attempts", type=int, metavar="N", help="Try up to N times.")
@click.option("-d", "--detach", is_flag=True, help="Print the job id and do not wait.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the log.")
@click.option("--terminate-on-interrupt", is_flag=True, help="Ctrl-C or SIGTERM ends the job, too.")
@json_option
@shared_options
@click.argument("command", nargs=-1, metavar="-- COMMAND…")
@click.pass_obj
def run(
    invocation: Invocation,
    command: Sequence[str],
    image: str | None,
    vcpus: int,
    memory: str,
    array: int | None,
    env: Sequence[str],
    depends_on: Sequence[str],
    queue: str,
    name: str | None,
    timeout: int | None,
    attempts: int | None,
    detach: bool,
    quiet: bool,
    terminate_on_interrupt: bool,
    as_json: bool,
) -> int:
    """Run COMMAND as a job: submit it, show how it fares, print its log, and exit with its exit code.

    COMMAND starts in a directory of its own, not in this one: give whole paths.

    The log goes to standard output, everything else to standard error. A job that fails without an exit code gives 1. An
    array gives 0 when all its children succeed, else 1. Ctrl-C stops following; the job goes on, unless
    --terminate-on-interrupt is given. With --json the job is printed as JSON at the end (with --detach: SubmitJob's
    answer), and the log is not.
    """
    if not command and image is None:
        raise usage_failure("There is no command to run.", "For example: batchyard run -- echo hello")
    client = invocation.client()
    wanted = Submission(
        command=command,
        name=name or name_of(command, image),
        queue=queue,
        image=image,
        vcpus=vcpus,
        memory=memory_of(memory),
        environment=environment_of(env, os.environ),
        depends_on=[whole_id(client, job) for job in depends_on],
        array=array,
        attempts=attempts,
        timeout=timeout,
    )
    submitted = submit(client, wanted)
    job_id = submitted["jobId"]
    if detach:
        if as_json:
            print_json(submitted)
        else:
            print_line(job_id)
        if sys.stderr.isatty() and not quiet:
            print_note(f"Follow it with: batchyard logs -f {short_id(job_id)}")
        return ExitCode.FINE
    progress = new_progress(quiet)
    progress.submitted(job_id, wanted.name, queue)
    if terminate_on_interrupt:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        ended = follow(client, job_id, progress, with_log=not as_json)
        progress.ended(ended)
    except KeyboardInterrupt:
        return _interrupted(client, job_id, progress, terminate_on_interrupt)
    finally:
        progress.close()
    if as_json:
        print_json({"jobs": [ended]})
    elif not quiet:
        _explain(client, ended)
    return _exit_code(ended)


def _exit_code(job: Json) -> int:
    if job["status"] == "SUCCEEDED":
        return ExitCode.FINE
    return exit_code_of(job) or ExitCode.FAILED


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _interrupted(client: Client, job_id: str, progress: Progress, terminate: bool) -> int:
    short = short_id(job_id)
    client.close()  # An answer may be under way on it.
    if not terminate:
        progress.note(f"Job {short} goes on. Follow it: batchyard logs -f {short}. End it: batchyard terminate {short}")
        return ExitCode.INTERRUPTED
    client.batch("TerminateJob", jobId=job_id, reason="Interrupted by the user")
    progress.note(f"Terminating job {short}; Ctrl-C again leaves it to the server.")
    with contextlib.suppress(KeyboardInterrupt):
        progress.ended(follow(client, job_id, progress, with_log=False))
    return ExitCode.INTERRUPTED


def _explain(client: Client, job: Json) -> None:
    """After a failure: what to look at next."""
    if job["status"] == "SUCCEEDED":
        return
    short = short_id(job["jobId"])
    if array_size(job) is not None:
        _list_failed_children(client, job)
    elif "CannotPullContainerError" in reason_of(job) and (job.get("container") or {}).get("image") == HOST_IMAGE:
        print_note("The server runs jobs in containers: name an image with --image.")
    elif exit_code_of(job) is None:
        print_note(f"More: batchyard show {short}")


def _list_failed_children(client: Client, job: Json) -> None:
    with contextlib.suppress(Failure):
        pages = client.pages("ListJobs", "jobSummaryList", arrayJobId=job["jobId"], jobStatus="FAILED", maxResults=100)
        failed = list(islice((child for page in pages for child in page), SHOWN_CHILDREN + 1))
        for child in failed[:SHOWN_CHILDREN]:
            short = short_id(child["jobId"])
            print_note(f"  {short}  {one_line(reason_of(child)) or 'FAILED'}  →  batchyard logs {short}")
        if len(failed) > SHOWN_CHILDREN:
            print_note(f"  … all: batchyard jobs --array {short_id(job['jobId'])} --status failed --all")
