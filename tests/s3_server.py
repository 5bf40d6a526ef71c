"""Run an S3 server (moto) in its own process, for tests of cold storage."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import botocore.session
import httpx
import s3fs

from warehouse.kit.ports import free_port

START_SECONDS = 60
BUCKET = "tilda-cold"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def s3_server(log: Path) -> Generator[dict[str, str]]:
    """Run a server with an empty bucket `BUCKET` and yield the environment variables that point to the server."""
    port = free_port(9100)
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, log.read_text()
            try:
                httpx.get(f"{url}/moto-api/data.json", timeout=10).raise_for_status()
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
        environment = ENVIRONMENT | {"AWS_ENDPOINT_URL": url}
        client(environment).create_bucket(Bucket=BUCKET)
        s3fs.S3FileSystem.clear_instance_cache()  # a cached client has the URL of an earlier server
        yield environment
    finally:
        process.kill()
        process.wait()


def client(environment: dict[str, str]):
    """Return an S3 client that is independent of the code under test."""
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_DEFAULT_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


def objects(environment: dict[str, str]) -> list[str]:
    """Return the keys of the objects in the bucket."""
    return [found["Key"] for found in client(environment).list_objects_v2(Bucket=BUCKET).get("Contents", [])]
