"""`python -m ingest_api [public|private]`: serve one of the two applications with uvicorn."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import uvicorn

from ingest_api.public.database_url import required_database_url
from ingest_api.public.http_protocol import BoundedHttpProtocol
from warehouse.kit.errors import UserError, explain
from warehouse.kit.settings import load_settings

PRIVATE_HOST = "127.0.0.1"
_APPLICATIONS = {"public": "ingest_api.public.app:create_app", "private": "ingest_api.private.app:create_app"}


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM or SIGINT; finish the requests in flight before the exit.

    Returns:
        The exit code: 0 after a graceful stop, 1 for an invalid setting, 2 for invalid arguments.
    """
    which = arguments[0] if arguments else "public"
    try:
        if which not in _APPLICATIONS:
            print(f"There is no application {which!r}. Use {' or '.join(_APPLICATIONS)}.", file=sys.stderr)
            return 2
        settings = load_settings()
        # uvicorn raises the signal again after a graceful stop. Ignore it, so that the exit code is 0.
        signal.signal(signal.SIGTERM, lambda *_: None)
        public = which == "public"
        if public:
            required_database_url(settings)
            _share_metrics(settings.metrics_folder)
        uvicorn.run(
            _APPLICATIONS[which],
            factory=True,
            host=settings.ingest_host if public else PRIVATE_HOST,
            port=settings.ingest_port if public else settings.private_port,
            workers=settings.ingest_workers if public else 1,
            loop="uvloop",
            http=BoundedHttpProtocol,
            ws="none",
            access_log=False,
            log_level="warning",
            server_header=False,
            # client_address reads forwarded headers according to TRUSTED_PROXIES; uvicorn must not.
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=25,
        )
    except (UserError, OSError) as error:
        print(explain(error), file=sys.stderr)
        return 1
    return 0


def _share_metrics(folder: Path) -> None:
    """Empty the folder in which the workers share their counters. Call this before prometheus_client is imported."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.db"):
        file.unlink(missing_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
