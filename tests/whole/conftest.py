"""The whole way needs the models that ship inside."""

from __future__ import annotations

import pytest

from pointe_blender.pipeline.models import STARTER


@pytest.fixture(autouse=True, scope="session")
def starter_models() -> None:
    """Skip where they have not been trained yet."""
    if not (STARTER / "base.safetensors").exists():
        pytest.skip("the starter models are not in this checkout")
