"""Many mixed requests against the example app on each backend: does anything grow?

Run it with ``make soak``. It prints the state of the app's process after each round, and fails when
memory, objects, file descriptors, threads, tasks or pooled connections have grown at the end, or
when a file is left.
"""

import argparse
import asyncio
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers.s3 import run_s3_server
from tests.soak.backends import serve_watched_app
from tests.soak.load import Soak, find_growth
from tests.storages import BACKENDS

ROUNDS = 20


async def soak(backend: str, requests: int, minutes: float) -> list[str]:
    """Put a load on a backend, and return what has grown."""
    deadline = time.monotonic() + 60 * minutes
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="soak-")))
        app = serve_watched_app(backend, directory, lambda: stack.enter_context(run_s3_server()))
        load = Soak(stack.enter_context(app))
        states = []
        while load.requests < requests:
            states.append(await load.run_round(requests // ROUNDS))
            print(f"{backend:8}{load.requests:8} requests  {states[-1]}", flush=True)
            if time.monotonic() > deadline:
                return [f"Only {load.requests} of {requests} requests in {minutes:g} minutes."]
    return find_growth(states)


def main() -> None:
    """Soak the backends that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backends", nargs="*", default=BACKENDS)
    parser.add_argument("--requests", type=int, default=20_000, help="on each backend")
    parser.add_argument("--minutes", type=float, default=30, help="the most for each backend")
    options = parser.parse_args()
    failed = False
    for backend in options.backends:
        for growth in asyncio.run(soak(backend, options.requests, options.minutes)):
            failed = True
            print(f"{backend:8}GROWS: {growth}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
