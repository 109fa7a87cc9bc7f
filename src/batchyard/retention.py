"""Finished jobs leave after a while (User Guide "Job states": at least seven days)."""

from __future__ import annotations

import asyncio
import logging
import time

from sqlalchemy.exc import SQLAlchemyError

from batchyard.control import ControlLoop
from batchyard.store.store import Store

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 600
AT_ONCE = 500
"""Jobs removed by one transaction: short, so that submissions never wait for the broom."""


async def keep_history_short(store: Store, control: ControlLoop, days: float | None) -> None:
    """Removes finished jobs that are older, every ten minutes, for as long as the server runs. 0 days: never."""
    while days:
        await _forget(store, control, time.time_ns() // 1_000_000 - int(days * 86_400_000))
        await asyncio.sleep(INTERVAL_SECONDS)


async def _forget(store: Store, control: ControlLoop, horizon: int) -> None:
    try:
        while await control.between_rounds(lambda: store.forget_finished(horizon, AT_ONCE)):
            continue
    except SQLAlchemyError as error:
        logger.error("old jobs could not be removed: %s", error)
