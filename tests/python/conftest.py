import pytest

from fleet import START
from hive_registry import HiveRegistry, ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def registry(clock: ManualClock) -> HiveRegistry:
    return HiveRegistry(clock=clock, seed=1)
