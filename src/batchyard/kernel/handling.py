"""Where each command is carried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batchyard.kernel import (
    commands,
    consumable_resources,
    definition_registry,
    environments,
    holding,
    hosts,
    interruptions,
    job_requests,
    queues,
    quota_shares,
    scheduling_policies,
    service_environments,
    service_jobs,
    tagging,
)
from batchyard.kernel.state import State

_HANDLERS: Mapping[type, Callable[[State, Any, int], Any]] = {
    commands.SubmitJob: job_requests.submit_job,
    commands.CancelJob: job_requests.cancel_job,
    commands.TerminateJob: job_requests.terminate_job,
    commands.HoldJob: holding.hold_job,
    commands.ReleaseJob: holding.release_job,
    commands.ChangePriority: holding.change_priority,
    commands.RegisterJobDefinition: definition_registry.register,
    commands.DeregisterJobDefinition: definition_registry.deregister,
    commands.CreateComputeEnvironment: environments.create_environment,
    commands.UpdateComputeEnvironment: environments.update_environment,
    commands.DeleteComputeEnvironment: environments.delete_environment,
    commands.CreateJobQueue: queues.create_queue,
    commands.UpdateJobQueue: queues.update_queue,
    commands.DeleteJobQueue: queues.delete_queue,
    commands.CreateSchedulingPolicy: scheduling_policies.create_policy,
    commands.UpdateSchedulingPolicy: scheduling_policies.update_policy,
    commands.DeleteSchedulingPolicy: scheduling_policies.delete_policy,
    commands.CreateServiceEnvironment: service_environments.create_environment,
    commands.UpdateServiceEnvironment: service_environments.update_environment,
    commands.DeleteServiceEnvironment: service_environments.delete_environment,
    commands.SubmitServiceJob: service_jobs.submit_service_job,
    commands.TerminateServiceJob: service_jobs.terminate_service_job,
    commands.UpdateServiceJob: service_jobs.update_service_job,
    commands.CreateQuotaShare: quota_shares.create_share,
    commands.UpdateQuotaShare: quota_shares.update_share,
    commands.DeleteQuotaShare: quota_shares.delete_share,
    commands.CreateConsumableResource: consumable_resources.create_resource,
    commands.UpdateConsumableResource: consumable_resources.update_resource,
    commands.DeleteConsumableResource: consumable_resources.delete_resource,
    commands.ChangeTags: tagging.change_tags,
    commands.InterruptInstance: interruptions.interrupt_instance,
    commands.InterruptJob: interruptions.interrupt_job,
    commands.RegisterHost: hosts.register_host,
    commands.UpdateHost: hosts.update_host,
    commands.DeregisterHost: hosts.deregister_host,
}


def handle(state: State, command: commands.Command, now: int) -> Any:
    """Carries out one command and gives its answer. Raises `Refusal`, and then nothing has changed."""
    return _HANDLERS[type(command)](state, command, now)
