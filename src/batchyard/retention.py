"""Finished jobs and terminated instances leave after a while (User Guide "Job states": at least seven days), log streams when
their group says so."""

from __future__ import annotations

import asyncio
import logging
import time

from sqlalchemy.exc import SQLAlchemyError

from batchyard.control import ControlLoop
from batchyard.logs.store import LogStore
from batchyard.store.store import Store

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 600
AT_ONCE = 500
"""Jobs, or instances, removed by one transaction: short, so that submissions never wait for the broom."""


async def keep_history_short(store: Store, control: ControlLoop, logs: LogStore, days: float) -> None:
    """Every ten minutes, for as long as the server runs: removes finished jobs and terminated instances that are older than
    `days` (0: never), and log events beyond the retention of their group."""
    while True:
        now = time.time_ns() // 1_000_000
        if days:
            await _forget(store, control, now - int(days * 86_400_000))
        await asyncio.to_thread(logs.expire, now)
        await asyncio.sleep(INTERVAL_SECONDS)


async def _forget(store: Store, control: ControlLoop, horizon: int) -> None:
    try:
        while await control.between_rounds(lambda: store.forget_finished(horizon, AT_ONCE)):
            continue
        while await control.between_rounds(lambda: store.forget_instances(horizon, AT_ONCE)):
            continue
    except SQLAlchemyError as error:
        logger.error("what is old could not be removed: %s", error)
