"""Predicts together what requests want at the same moment: a call costs far more than a row.

Nothing waits for company: requests that were read in one turn of the event loop, while those before them
were predicted, share the next call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from training.common.features import Value

Rows = Sequence[Sequence[Value]]
# Larger calls would keep the event loop, and /ping, waiting.
MAX_ROWS = 512


class Batcher:
    """Of one model; `predict` answers a row as it does alone, whatever rows are beside it."""

    def __init__(self, predict: Callable[[Rows], list[Any]], max_rows: int = MAX_ROWS) -> None:
        self._predict = predict
        self._max_rows = max_rows
        self._waiting: list[tuple[Rows, asyncio.Future[list[Any]]]] = []

    async def predict(self, rows: Rows) -> list[Any]:
        """One prediction for each row; raises what the model raises for these rows."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Any]] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append((rows, future))
        return await future

    def _flush(self) -> None:
        taken, count = 0, 0
        for rows, _future in self._waiting:
            count += len(rows)
            if taken and count > self._max_rows:
                break
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        if len(batch) > 1 and self._all_at_once(batch):
            return
        for rows, future in batch:
            if not future.done():  # else its caller has gone
                _settle(future, self._predict, rows)

    def _all_at_once(self, batch: list[tuple[Rows, asyncio.Future[list[Any]]]]) -> bool:
        try:
            predictions = self._predict([row for rows, _future in batch for row in rows])
        except Exception:  # one by one shows whose rows it were
            return False
        start = 0
        for rows, future in batch:
            if not future.done():
                future.set_result(predictions[start : start + len(rows)])
            start += len(rows)
        return True


def _settle(future: asyncio.Future[list[Any]], predict: Callable[[Rows], list[Any]], rows: Rows) -> None:
    try:
        future.set_result(predict(rows))
    except Exception as error:
        future.set_exception(error)
