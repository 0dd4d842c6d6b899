"""``twist regsys``: see ``regsys.cli.twist``."""

from twisted.application.service import ServiceMaker

regsys = ServiceMaker(
    "regsys",
    "regsys.cli.twist",
    "The registration subsystem of a Matrix homeserver.",
    "regsys",
)
