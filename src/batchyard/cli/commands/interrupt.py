"""`batchyard interrupt`: what EC2 does when it needs a Spot instance, on request."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from batchyard.cli.failures import usage_failure
from batchyard.cli.invocation import Command, Invocation, complete_instances, complete_jobs, shared_options
from batchyard.cli.job_texts import short_id
from batchyard.cli.lookup import find_job
from batchyard.cli.terminal import one_line, painted, print_line
from batchyard.cli.times import moment


def _complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return complete_instances(ctx, parameter, incomplete) + complete_jobs(ctx, parameter, incomplete)


@click.command(
    cls=Command,
    examples=[
        ("batchyard interrupt i-0f3a61c0d2b84e957", "a Spot instance"),
        ("batchyard interrupt --force i-0f3a61c0d2b84e957", "also one that is no Spot instance"),
        ("batchyard interrupt last", "the newest job, which runs on Fargate Spot"),
    ],
)
@click.argument("target", metavar="INSTANCE|JOB", shell_complete=_complete)
@click.option("--force", is_flag=True, help="Also an On-Demand Instance: it gets the same notice.")
@shared_options
@click.pass_obj
def interrupt(invocation: Invocation, target: str, force: bool) -> None:
    """Take a Spot instance away, or a job that runs on Fargate Spot.

    As on AWS there are two minutes of notice (the setting spot_notice_seconds): programs get SIGTERM at once and SIGKILL at
    the end; on an instance, the instance metadata tells of it, too. The attempts end with AWS's reason, and retry
    strategies decide what follows.
    """
    client = invocation.client()
    if target.startswith("i-"):
        instance = client.batchyard("InterruptInstance", instanceId=target, force=force)
        if instance["state"] == "terminated":
            said = "had nothing to do, and is gone"
        else:
            jobs = len(instance["jobs"])
            said = f"is taken away at {moment(instance['deadline'])}; {jobs} job{'' if jobs == 1 else 's'} told"
        print_line(f"{painted(one_line(instance['instanceId']), 'bold')}  {said}")
        return
    if force:
        raise usage_failure("--force is for instances.")
    job = find_job(client, target)
    client.batchyard("InterruptJob", jobId=job["jobId"])
    print_line(f"{painted(short_id(job['jobId']), 'bold')}  {one_line(job['jobName'])}  is being interrupted")
