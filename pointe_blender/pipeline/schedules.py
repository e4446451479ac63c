"""Quality levels: how each stage of a model set is sampled for "exact", "high" and "fast". No torch.

The numbers in schedules.json are found by `tuning.search`, by the gates that a level has to pass.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from .models import ModelSet, Stage

FILE = Path(__file__).with_name("schedules.json")
SCHEDULES: dict[str, dict[str, dict[str, dict[str, Any]]]] = json.loads(FILE.read_text(encoding="utf-8"))


def stage_of(models: ModelSet, name: Literal["base", "upsample"], quality: str) -> Stage:
    """How a stage is sampled: the model set's own way for "exact", otherwise by its row in schedules.json."""
    own = models.base_stage if name == "base" else models.upsample_stage
    if quality == "exact":
        return own
    return replace(own, **SCHEDULES[models.schedule][name][quality])
