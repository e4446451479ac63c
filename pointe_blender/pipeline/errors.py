"""What can go wrong, one class per remedy.

Every message is one sentence for the person at the screen: what is wrong and what to do.
They are raised where the cause is known and shown in one place by each driver: panel, console, shell.
"""


class PointEError(Exception):
    """Anything the pipeline says to its user; never raised itself."""


class InvalidRequest(PointEError):
    """The request cannot be carried out as written: change it."""


class MissingPackage(PointEError):
    """A Python package such as PyTorch is not installed: install it."""


class MissingModel(PointEError):
    """A checkpoint is not on this machine: download it or choose its folder."""


class DamagedModel(PointEError):
    """A checkpoint's bytes, hash, names or shapes are wrong: delete it and get it again."""


class DownloadFailed(PointEError):
    """The network or the server failed: try again, what has arrived is kept."""


class NotOnline(PointEError):
    """A download was needed but online access is off: allow it or bring the files yourself."""


class CannotWrite(PointEError):
    """A folder is read-only or the disk is full: make room or choose another folder."""


class NoSurface(PointEError):
    """The distance field never crosses zero: try another seed or a denser cloud."""


class OutOfMemory(PointEError):
    """The device ran out of memory: choose the CPU, fewer variants or a smaller model."""
