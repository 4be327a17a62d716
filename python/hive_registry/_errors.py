"""What the registry raises. Messages name field, value and bound, in at most 512 bytes, whatever was given."""

_MOST = 512


class HiveRegistryError(Exception):
    """The root of all of these; by itself a defect of the library, or a registry used after `fork()`."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(_short(each) if isinstance(each, str) else each for each in args))


class HeartbeatError(HiveRegistryError, ValueError):
    """A heartbeat was refused: nothing of it was applied, nothing was registered."""


class ConfigError(HiveRegistryError, ValueError):
    """A setting or another number is out of bounds."""


class NoWorkerError(HiveRegistryError, LookupError):
    """No worker may be picked; the message is what `HiveRegistry.explain` says."""


class Lagged(HiveRegistryError):  # noqa: N818 - what happened, not a fault of the caller
    """A reader of events was too slow. What follows is in order; resync from `HiveRegistry.snapshot`."""

    lost: int
    """How many events were lost, the oldest first."""

    def __init__(self, lost: int) -> None:
        super().__init__(f"{lost} events were lost; resync from a snapshot")
        self.lost = lost

    def __reduce__(self) -> tuple[type["Lagged"], tuple[int]]:
        return type(self), (self.lost,)


class Closed(HiveRegistryError):  # noqa: N818 - as StopIteration
    """The registry is gone, and every event was read."""


def _short(text: str) -> str:
    """Of what is too long the beginning, and the end, which says what would have been accepted."""
    # So much takes more bytes than may be said anyway, and encodes quickly.
    near = text if len(text) <= 2 * _MOST else text[:_MOST] + text[-_MOST:]
    raw = near.encode(errors="replace")
    if len(raw) <= _MOST:
        return text
    half = (_MOST - 3) // 2
    return f"{raw[:half].decode(errors='ignore')}...{raw[-half:].decode(errors='ignore')}"
