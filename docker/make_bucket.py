"""Creates MLflow's bucket. Compose runs it before MLflow starts."""

from __future__ import annotations

import os

import boto3
from botocore.exceptions import ClientError


def main() -> None:
    """Creates the bucket MLFLOW_BUCKET at MLFLOW_S3_ENDPOINT_URL, unless it exists."""
    client = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    try:
        client.create_bucket(Bucket=os.environ["MLFLOW_BUCKET"])
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"BucketAlreadyExists", "BucketAlreadyOwnedByYou"}:
            raise


if __name__ == "__main__":
    main()
