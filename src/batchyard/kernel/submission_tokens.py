"""Client tokens of submissions: the same request twice is one job.

Source: model `SubmitServiceJobRequest.clientToken`. AWS does not say for how long a token is remembered; here it is as long
as for UpdateConsumableResource, eight hours.
"""

from __future__ import annotations

import msgspec

KIND = "service-job-token"
REMEMBERED = 8 * 3600 * 1000
"""Milliseconds."""


class SubmissionToken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a submission that had a client token."""

    token: str
    digest: str
    """Of the request: a repetition has the same."""
    job_id: str
    job_name: str
    at: int
