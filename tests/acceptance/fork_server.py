"""Starts servers quickly: this process imports the server once, then forks one for each line that it reads.

Most of the time from exec to a ready server goes into imports. For hundreds of restarts they are made once; the forked
process then does all that a server does when it starts. It answers each line with the process id of the server, and
with its exit code when that has ended.
"""

from __future__ import annotations

import os
import sys

import alembic.command
import sqlalchemy.dialects.sqlite

import batchyard.engines.local.process.engine
import batchyard.server
from batchyard.config import load_config

PRELOADED = (alembic.command, sqlalchemy.dialects.sqlite, batchyard.engines.local.process.engine)


def main() -> None:
    for _ in sys.stdin:
        process_id = os.fork()
        if process_id == 0:
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(2, 1)
            code = 1
            try:
                code = batchyard.server.serve(load_config(None, os.environ, {}))
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(process_id, flush=True)
        _, status = os.waitpid(process_id, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
