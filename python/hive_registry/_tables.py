"""Tables of other libraries, as this one can read them."""

import sys
from typing import Any


def readable(table: Any) -> Any:
    """The table, or for polars one without columns of nothing but None.

    What polars writes for these is not as the C data interface wants it (polars issue 22934).
    """
    polars: Any = sys.modules.get("polars")
    if polars is not None and isinstance(table, polars.DataFrame):
        return table.cast({polars.Null: polars.String})
    return table
