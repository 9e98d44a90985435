"""The lake's files on an S3: moto's, which is one as far as clients can tell."""

from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from metering.lake.attached import Lake
from tests.metering.lakes import Node, Shared
from tests.postgres import Postgres

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}


class OnS3(Shared):
    """Its Parquet files lie in a bucket."""

    def __init__(self, folder: Path, catalogue: str) -> None:
        super().__init__(folder, catalogue)
        there = {"lake_data": "s3://bucket/lake/", "lake_s3_url_style": "path"}
        self.options = self.options.model_copy(update=there)
        Lake.__init__(self, self.options)


def test_a_lake_on_s3(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes publish to a bucket, with the keys of the environment, and what they find there is what they have."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "{}:{}".format(*server.get_host_and_port())
    for name, value in (ENVIRONMENT | {"DUCKDB_S3_ENDPOINT": address, "DUCKDB_S3_USE_SSL": "false"}).items():
        monkeypatch.setenv(name, value)
    bucket = boto3.client("s3", endpoint_url=f"http://{address}", region_name="us-east-1")
    bucket.create_bucket(Bucket="bucket")

    lake = OnS3(tmp_path, postgres.database())
    nodes = [Node(tmp_path / name, lake, name) for name in "ab"]
    for node in nodes:
        node.end(1, calls=30)
        node.correct(1)
        assert node.publisher.publish().tasks == 1
    for table in ("request_events", "charges", "task_rollups"):
        here = [(node.name, *row) for node in nodes for row in node.rows(f"FROM {table}")]
        assert sorted(map(repr, lake.find(f"FROM {table}"))) == sorted(map(repr, here)), table
    stored = [found["Key"] for found in bucket.list_objects_v2(Bucket="bucket")["Contents"]]
    assert len(stored) == 2
    assert all(key.startswith("lake/main/request_events/") for key in stored)
    for opened in (*nodes, lake):
        opened.close()
    server.stop()
