import os

import pytest

from hive_registry import HiveRegistryError, _core

panic = getattr(_core, "_panic", None)


@pytest.mark.skipif(
    panic is None and "CI" not in os.environ, reason="built without debug assertions, unlike by `make test`"
)
def test_a_panic_is_an_error_of_the_registry(capfd: pytest.CaptureFixture[str]) -> None:
    assert panic is not None
    with pytest.raises(HiveRegistryError, match=r"^a defect in hive-registry: at 7$"):
        panic()
    assert "panicked" in capfd.readouterr().err
