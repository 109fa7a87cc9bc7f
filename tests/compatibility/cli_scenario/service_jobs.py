"""Service jobs."""

from __future__ import annotations

from compatibility.cli_scenario.step import TAGS, Step

TRAINING = (
    '{"TrainingJobName": "t", "ResourceConfig": {"InstanceCount": 1, "InstanceType":'
    ' "ml.m5.large", "VolumeSizeInGB": 1}, "AlgorithmSpecification": {"TrainingImage": "busybox",'
    ' "TrainingInputMode": "File", "ContainerEntrypoint": ["sleep", "600"]}, "OutputDataConfig": {"S3OutputPath":'
    ' "s3://bucket"}, "StoppingCondition": {"MaxRuntimeInSeconds": 60}, "RoleArn":'
    ' "arn:aws:iam::123456789012:role/some"}'
)

SERVICE_JOBS = [
    Step(
        "SubmitServiceJob",
        {
            "jobName": "train",
            "jobQueue": "{plain-training-queue}",
            "retryStrategy": {
                "attempts": 2,
                "evaluateOnExit": [{"action": "RETRY", "onStatusReason": "Received status from SageMaker: *"}],
            },
            "schedulingPriority": 5,
            "serviceRequestPayload": TRAINING,
            "serviceJobType": "SAGEMAKER_TRAINING",
            "shareIdentifier": "labA",
            "timeoutConfig": {"attemptDurationSeconds": 600},
            "tags": TAGS,
            "clientToken": "token-2",
        },
        keep={"service-job": "jobId"},
    ),
    Step(
        "SubmitServiceJob",
        {
            "jobName": "train-again",
            "jobQueue": "{plain-training-queue}",
            "serviceRequestPayload": TRAINING,
            "serviceJobType": "SAGEMAKER_TRAINING",
            "shareIdentifier": "labA",
        },
    ),
    Step(
        "SubmitServiceJob",
        {
            "jobName": "train",
            "jobQueue": "{training-queue}",
            "serviceRequestPayload": TRAINING,
            "serviceJobType": "SAGEMAKER_TRAINING",
            "quotaShareName": "mine",
        },
    ),
    Step(
        "SubmitServiceJob",
        {
            "jobName": "train-patiently",
            "jobQueue": "{training-queue}",
            "serviceRequestPayload": TRAINING,
            "serviceJobType": "SAGEMAKER_TRAINING",
            "quotaShareName": "mine",
            "preemptionConfiguration": {"preemptionRetriesBeforeTermination": 1},
        },
    ),
    Step("DescribeServiceJob", {"jobId": "{service-job}"}),
    Step("ListServiceJobs", {"jobQueue": "{plain-training-queue}", "jobStatus": "RUNNABLE", "maxResults": 1}),
    Step(
        "ListServiceJobs",
        {
            "jobQueue": "{plain-training-queue}",
            "maxResults": 1,
            "filters": [{"name": "JOB_NAME", "values": ["tr*"]}],
        },
        keep={"service-jobs-token": "nextToken"},
    ),
    Step(
        "ListServiceJobs",
        {
            "jobQueue": "{plain-training-queue}",
            "maxResults": 1,
            "filters": [{"name": "JOB_NAME", "values": ["tr*"]}],
            "nextToken": "{service-jobs-token}",
        },
    ),
    Step("UpdateServiceJob", {"jobId": "{service-job}", "schedulingPriority": 6}),
    Step("TerminateServiceJob", {"jobId": "{service-job}", "reason": "enough"}),
    Step("TerminateServiceJobs", {"jobs": ["{service-job}"], "reason": "enough"}),
]
