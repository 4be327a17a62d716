"""Tables of other libraries, as this one can read them."""

import dataclasses
import sys
from typing import Any

from ._heartbeats import HiveHeartbeatPayload, WorkerState

_COLUMNS = [field.name for record in (HiveHeartbeatPayload, WorkerState) for field in dataclasses.fields(record)]


def readable(table: Any) -> Any:
    """The table, or for polars its columns that are read, and none of nothing but None.

    What polars writes for these is not as the C data interface wants it (polars issue 22934); and it has types of its
    own.
    """
    polars: Any = sys.modules.get("polars")
    if polars is not None and isinstance(table, polars.DataFrame):
        known = table.select([name for name in _COLUMNS if name in table.columns])
        return known.cast({polars.Null: polars.String})
    return table
