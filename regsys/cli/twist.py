"""``twist regsys -c FILE``: as ``regsys serve``, under Twisted's own runner, with its log."""

from __future__ import annotations

from twisted.logger import Logger
from twisted.python import usage

from regsys import wiring
from regsys.cli import checks, report
from regsys.config import ConfigError, load
from regsys.processes.activation import CannotListen
from regsys.processes.service import Service
from regsys.storage.migrations import NewerSchema
from regsys.wiring.process import CannotStart

log = Logger()


class Options(usage.Options):
    """What stands behind ``twist regsys``."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self.files: list[str] = []

    def opt_config(self, file: str) -> None:
        """a configuration file, or a directory of *.yaml; may be repeated"""
        self.files.append(file)

    opt_c = opt_config

    def postOptions(self) -> None:
        if not self.files:
            raise usage.UsageError("name a configuration file: -c FILE")


class TwistService(Service):
    def startService(self) -> None:
        try:
            super().startService()
        except CannotListen as error:
            raise SystemExit(f"regsys: {error}") from None


def makeService(options: Options) -> TwistService:
    """The service; SystemExit, with the reason, if there can be none. It blocks while it brings the
    database up to date."""
    from twisted.internet import reactor

    try:
        config = report(load(options.files))
        checks.before_start(config)
        subsystem = wiring.of_process(config, reactor)
    except (ConfigError, CannotStart, NewerSchema) as error:
        raise SystemExit(f"regsys: {error}") from None
    return TwistService(config, subsystem, reactor, _ready)


def _ready(service: Service) -> None:
    log.info("regsys is ready: {addresses}", addresses=" ".join(service.addresses()))
