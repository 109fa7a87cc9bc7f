"""The wire types of the AWS services that Batchyard speaks: plain data, generated from botocore's service models."""
