"""Every operation of AWS Batch from first to last, as requests that fill in the AWS CLI's skeletons.

The steps make one story: environments, policies and queues come up, definitions of every kind are registered, jobs are
submitted, looked at and ended, and everything is cleared away. `{name}` in a text stands for what an earlier step has
kept under that name, or for the installation's `account` and `region`.
"""

from __future__ import annotations

from compatibility.cli_scenario.clearing_away import CLEARING_AWAY
from compatibility.cli_scenario.definitions import DEFINITIONS
from compatibility.cli_scenario.jobs import JOBS
from compatibility.cli_scenario.queues import QUEUES
from compatibility.cli_scenario.resources import RESOURCES
from compatibility.cli_scenario.service_jobs import SERVICE_JOBS
from compatibility.cli_scenario.step import Step

__all__ = ["STEPS", "Step"]

STEPS = [*RESOURCES, *QUEUES, *DEFINITIONS, *JOBS, *SERVICE_JOBS, *CLEARING_AWAY]
