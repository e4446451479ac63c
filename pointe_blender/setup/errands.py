"""What is being done with the models, one errand after the other, and what the list shows of it.

It belongs to Blender's session: it goes on when the preferences are closed or another file is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import bpy

from .. import history, pace, preferences
from .chores import Chore, redraw

if TYPE_CHECKING:
    from ..pipeline.sets import Doing, Standing
    from ..pipeline.store import Folders
    from .belongings import Places

GLANCE = 0.5  # seconds that a look at the disk holds
EVERYTHING = "everything"  # stands for a set in the errand that removes all
PRESETS = "pointe_blender"  # the folder of the settings' presets among the user's scripts


@dataclass(frozen=True)
class Errand:
    """What to do with which set."""

    what: Literal["install", "verify", "remove"]
    models: str


@dataclass
class Failure:
    """What went wrong with a set, and all that is known of it."""

    text: str
    log: str


@dataclass
class _State:
    """What the list shows; it lives as long as Blender's session.

    Attributes
    ----------
    doing, waiting
        At work now, and after that in this order.
    failures
        By set, until the next errand with it.
    verified
        What was said of the sets that were found right in this session.
    damaged
        Checkpoints that were found wrong and have not come anew.
    use
        What lies on the disk, in words.
    seen
        How the sets stood in which folders at what time.
    """

    doing: Errand | None = None
    waiting: list[Errand] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    verified: dict[str, str] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    use: str = ""
    seen: tuple[float, Folders, dict[str, Standing]] | None = None


state = _State()


def standings() -> dict[str, Standing]:
    """How all sets stand, looked up twice a second at most: a folder of the user's may lie on a network."""
    from ..pipeline import sets

    now, folders = time.monotonic(), preferences.folders()
    if state.seen is None or now - state.seen[0] > GLANCE or state.seen[1] != folders:
        state.seen = (now, folders, sets.standings(folders, state.damaged))
    return state.seen[2]


def begin(errand: Errand) -> None:
    """Do it in the background, now or after what is being done."""
    if errand == state.doing or errand in state.waiting:
        return
    if chore.running:
        state.waiting.append(errand)
    else:
        chore.start(_prepared(errand))
    redraw()


def wait(operator: bpy.types.Operator, errand: Errand) -> set[str]:
    """Do it here and now, as scripts and Blender without a window need it."""
    if chore.running:
        operator.report({"ERROR"}, f"{chore.name} has not ended: wait until it has, or cancel it.")
        return {"CANCELLED"}
    chore.wait(_prepared(errand))
    if failure := state.failures.get(errand.models):
        operator.report({"ERROR"}, failure.text)
        return {"CANCELLED"}
    return {"FINISHED"}


def cancel(models: str) -> None:
    """Stop what is being done with a set, or what waits to be done with it."""
    state.waiting = [errand for errand in state.waiting if errand.models != models]
    if state.doing and state.doing.models == models:
        chore.cancel()
    redraw()


def forget() -> None:
    """Look at the disk again: something has changed there."""
    state.use, state.seen = "", None
    counting.cancel()


def count() -> None:
    """Find out what lies on the disk, unless it is known or being found out."""
    if not state.use and not counting.running:
        found = places()
        counting.start(lambda: _count(found))


def stop() -> None:
    """End everything, as Blender quits or the extension is disabled."""
    state.waiting.clear()
    state.doing = None
    for ended in (chore, counting):
        ended.stop()


def places() -> Places:
    """Where this extension writes."""
    from .belongings import Places

    kept = Path(bpy.utils.user_resource("SCRIPTS", path="presets"))
    return Places(
        home=preferences.user_folder(),
        folders=preferences.folders(),
        packages=preferences.packages_target(),
        settings=(history.file(), pace.file(), kept / PRESETS, *kept.glob("operator/pointe.*")),
    )


def _prepared(errand: Errand) -> Callable[[], Iterator[Doing]]:
    """Make it the one being done; what is returned runs on the thread."""
    state.doing = errand
    state.failures.pop(errand.models, None)
    state.verified.pop(errand.models, None)
    folders, found = preferences.folders(), places()

    def make() -> Iterator[Doing]:
        from ..pipeline import sets
        from . import belongings

        match errand.what:
            case "install":
                return sets.install(errand.models, folders, state.damaged)
            case "verify":
                return sets.verify(errand.models, folders, state.damaged)
            case "remove":
                return belongings.remove(found)

    if errand.what == "remove" or state.damaged:
        unload()
    return make


def _done() -> None:
    """Keep what came of an errand and begin the next."""
    errand, state.doing = state.doing, None
    forget()
    if errand is None:
        return
    if chore.failure:
        state.failures[errand.models] = Failure(chore.failure, chore.log)
    elif errand.what == "verify" and not chore.cancelled and (last := chore.poll()):
        state.verified[errand.models] = last.text
    if errand.what == "remove":
        pace.forget()
        preferences.use_packages()
        state.damaged.clear()
        state.verified.clear()
    if state.waiting:
        chore.start(_prepared(state.waiting.pop(0)))


def _count(found: Places) -> Iterator[Doing]:
    from ..pipeline.sets import Doing
    from . import belongings

    yield Doing(belongings.used(found).text, 1.0)


def _counted() -> None:
    """Keep what was counted, unless something has changed meanwhile."""
    if not counting.cancelled and (last := counting.poll()):
        state.use = last.text


def unload() -> None:
    """Let go of every network: no system deletes everywhere what one still reads from."""
    from ..pipeline import memory

    memory.unload()


chore = Chore("Working on the models", _done)
counting = Chore("Counting what is on the disk", _counted)
