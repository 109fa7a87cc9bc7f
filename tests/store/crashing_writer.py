"""A program that saves one job after another until it is killed: see `test_saving.py`.

`go`: after each commit it prints how many jobs are safe. `hold`: it writes a job, and stops before the commit.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "kernel"))

from story import Story, submission

from batchyard.kernel.commands import SubmitJob
from batchyard.kernel.effects import Effects
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.stored import restore
from batchyard.store.store import Store, _write


def main(path: str, mode: str) -> None:
    store = Store(Path(path))
    store.open()
    loop = asyncio.new_event_loop()

    def save(effects: Effects) -> None:
        loop.run_until_complete(store.save(effects))

    with store.load() as snapshot:
        fresh = not snapshot.queues
    story = Story(save=save, bare=not fresh)
    story.kernel = kernel = Kernel(story.kernel.state.settings)
    with store.load() as snapshot:
        restore(kernel.state, snapshot, story.now)
    safe = kernel.state.next_seq - 1
    while True:
        seq = kernel.state.next_seq
        request = submission(job_name=f"j{seq}", parameters={"padding": "x" * 5000}).request
        job_id = f"{seq:08x}-0000-4000-8000-000000000000"
        kernel.apply(SubmitJob(request=request, job_id=job_id, size=1), story.now)
        job = kernel.state.jobs[job_id]
        job.status_reason = "saved"
        kernel.state.enter(job, job.status, story.now)
        effects = kernel.take_effects()
        if mode == "hold":
            assert store._writer is not None
            _write(store._writer, store._statements, effects)
            print("written, not committed", flush=True)
            sys.stdin.read()
        save(effects)
        safe += 1
        print(safe, flush=True)


main(*sys.argv[1:])
