"""The file of log_config: a homeserver's works unchanged, a broken one is refused at the start."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from pathlib import Path
from typing import Any, Optional

import yaml
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from regsys import log_context
from regsys.config import ConfigError
from regsys.logs import LogFile
from regsys.logs.handlers import PeriodicMemoryHandler
from regsys.logs.standard import StandardLogging
from tests.support.service_process import ServiceProcess, sqlite, write_config

PRECISE = "%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(request)s - %(message)s"


def stock(folder: Path, **handlers: Any) -> dict[str, Any]:
    """The file that Synapse generates for a new server."""
    return {
        "version": 1,
        "formatters": {"precise": {"format": PRECISE}},
        "handlers": {
            "file": {
                "class": "logging.handlers.TimedRotatingFileHandler",
                "formatter": "precise",
                "filename": str(folder / "homeserver.log"),
                "when": "midnight",
                "backupCount": 3,
                "encoding": "utf8",
            },
            "buffer": {
                "class": "synapse.logging.handlers.PeriodicallyFlushingMemoryHandler",
                "target": "file",
                "capacity": 10,
                "flushLevel": 30,
                "period": 5,
            },
            "console": {"class": "logging.StreamHandler", "formatter": "precise"},
            **handlers,
        },
        "loggers": {"synapse.storage.SQL": {"level": "INFO"}},
        "root": {"level": "INFO", "handlers": ["buffer"]},
        "disable_existing_loggers": False,
    }


class LogConfigCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        root = logging.getLogger()
        self.addCleanup(setattr, root, "handlers", root.handlers[:])
        self.addCleanup(root.setLevel, root.level)

    def file(self, data: Any) -> str:
        path = self.folder / "log.yaml"
        path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
        return str(path)

    def begin(self, data: Any) -> Logger:
        """Log with this configuration."""
        LogFile.load(self.file(data)).apply("hs.example")
        for handler in logging.getLogger().handlers:
            self.addCleanup(handler.close)
        return Logger(namespace="regsys.test", observer=StandardLogging())

    def written(self) -> list[str]:
        for handler in logging.getLogger().handlers:
            handler.flush()
        return (self.folder / "homeserver.log").read_text().splitlines()

    def refused(self, data: Any, *, check: bool = False) -> str:
        """The first problem of this configuration; all have the same form."""
        path = self.file(data)

        def use() -> None:
            file = LogFile.load(path)
            file.check("hs.example") if check else file.apply("hs.example")

        problems = self.assertRaises(ConfigError, use).problems
        for problem in problems:
            self.assertRegex(problem, f"^log_config: {path}: .* — ")
        return problems[0]


class StockTests(LogConfigCase):
    """A homeserver's own file."""

    def test_lines(self) -> None:
        """A line has time, logger, source line, level, request and text."""
        log = self.begin(stock(self.folder))
        log.info("of nothing 100%")

        async def serve() -> None:
            log_context.begin_request("POST")
            log.warn("{name} refused", name="alice")
            log_context.note_session("abcdefghijkl")
            await Deferred.fromCoroutine(deeper())

        async def deeper() -> None:
            log.info("below")

        self.successResultOf(Deferred.fromCoroutine(serve()))
        log.info("outside again")
        first, *lines = self.written()
        self.assertIn(" - regsys.logs - ", first)
        number = r"POST-[0-9]+"
        for line, wanted in zip(
            lines,
            (
                r"INFO -  - of nothing 100%",
                rf"WARNING - {number} - alice refused",
                rf"INFO - {number}-abcdef - below",
                r"INFO -  - outside again",
            ),
            strict=True,
        ):
            self.assertRegex(line, rf"^2[-0-9: ,]+ - regsys\.test - [0-9]+ - {wanted}$")
        code = Path(__file__).read_text().splitlines()
        self.assertIn("of nothing", code[int(lines[0].split(" - ")[2]) - 1])

    def test_oldFilterAndFields(self) -> None:
        """A file of older homeservers, with a filter of theirs, and formats with other fields of
        theirs, work too."""
        data = stock(self.folder)
        data["filters"] = {
            "context": {"()": "synapse.logging.context.LoggingContextFilter", "request": "none"}
        }
        data["handlers"]["file"]["filters"] = ["context"]
        data["formatters"]["precise"] = {
            "()": "synapse.logging.formatter.LogFormatter",
            "fmt": "%(server_name)s %(method)s %(ip_address)s [%(requester)s] %(message)s",
        }
        log = self.begin(data)

        async def serve() -> None:
            log_context.begin_request("GET")
            log_context.note_address("192.0.2.1")
            log.info("asked")

        self.successResultOf(Deferred.fromCoroutine(serve()))
        self.assertEqual(self.written()[-1], "hs.example GET 192.0.2.1 [] asked")

    def test_structured(self) -> None:
        """JSON lines, with the failure's traceback."""
        data = stock(self.folder)
        data["formatters"]["precise"] = {"class": "synapse.logging.TerseJsonFormatter"}
        log = self.begin(data)
        log.info("said {word}", word='ä"')
        log.failure("it broke", Failure(ValueError("why")))
        event, broke = map(json.loads, self.written()[1:])
        self.assertIsInstance(event.pop("time"), float)
        self.assertEqual(event, {"log": 'said ä"', "namespace": "regsys.test", "level": "INFO"})
        self.assertEqual((broke["log"], broke["level"]), ("it broke", "CRITICAL"))
        self.assertEqual((broke["exc_type"], broke["exc_value"]), ("ValueError", "why"))

    def test_oneOfSeveral(self) -> None:
        """JSON lines of one of several processes say which."""
        data = stock(self.folder)
        data["formatters"]["precise"] = {"class": "synapse.logging.JsonFormatter"}
        self.patch(multiprocessing.current_process(), "name", "regsys-2")
        self.begin(data).info("said")
        self.assertEqual(json.loads(self.written()[-1])["process"], "regsys-2")

    def test_whatIsLoggedElsewhere(self) -> None:
        """A record of Python's own logging gets the fields, also if it has some of its own."""
        self.begin(stock(self.folder))
        logging.getLogger("library").info("as ever", extra={"request": "mine"})
        logging.getLogger("library").info("as ever")
        self.assertTrue(self.written()[-2].endswith("INFO - mine - as ever"))
        self.assertTrue(self.written()[-1].endswith("INFO -  - as ever"))

    def test_heldBack(self) -> None:
        """Lines are buffered until there are enough, or an urgent one comes."""
        log = self.begin(stock(self.folder))
        file = self.folder / "homeserver.log"
        before = len(file.read_text().splitlines())
        for count in range(9):
            log.info("{count}", count=count)
        self.assertEqual(len(file.read_text().splitlines()), before)
        log.warn("now")
        self.assertEqual(len(file.read_text().splitlines()), before + 10)

    def test_oddMethods(self) -> None:
        """A client can choose any method, but cannot inject into a log line."""

        async def serve(method: str) -> Optional[str]:
            log_context.begin_request(method)
            context = log_context.current_request()
            return context and context.name

        for method in ("GET\n", "A" * 5000, "", "ÄÖ", "<b>"):
            name = self.successResultOf(Deferred.fromCoroutine(serve(method)))
            self.assertRegex(name or "", "^OTHER-[0-9]+$")


class RefusedTests(LogConfigCase):
    """A file with which nothing could be logged."""

    def test_refused(self) -> None:
        """Each error is reported with the file and the reason, in one sentence."""
        precise = {"class": "logging.StreamHandler", "formatter": "precise"}
        broken_format = stock(self.folder)
        broken_format["formatters"]["precise"]["format"] = "%(reqest)s %(message)s"
        for data, *parts in (
            ("", "the file is empty"),
            ("a: [", "not valid YAML"),
            ("- a", "not a mapping"),
            (broken_format, "reqest"),
            (stock(self.folder, x={"class": "nowhere.Handler"}), "'x'", "nowhere"),
            (stock(self.folder, x={"class": "synapse.logging.RemoteHandler"}), "not in regsys"),
            (stock(self.folder, x={**precise, "formatter": "gone"}), "'x'", "gone"),
            (
                stock(self.folder, x={"class": "logging.FileHandler", "filename": "/no/x.log"}),
                "/no/x.log",
            ),
            ({"handlers": {}}, "version"),
        ):
            problem = self.refused(data)
            for part in (*parts, " — "):
                self.assertIn(part, problem)
        error = self.assertRaises(ConfigError, LogFile.load, "/no/log.yaml")
        self.assertIn("log_config: /no/log.yaml: cannot be read — No such file", str(error))

    def test_doesNotArrive(self) -> None:
        """A line that gets lost at the handler is reported, although nothing was raised."""
        full = {"class": "logging.FileHandler", "filename": "/dev/full", "formatter": "precise"}
        data = stock(self.folder, file=full)
        self.assertIn("'file' cannot log: OSError: [Errno 28] No space left", self.refused(data))

    def test_laterFailures(self) -> None:
        """Later failures are a sentence on standard error, at most once a minute, and no
        traceback."""
        self.begin(stock(self.folder))
        (buffer,) = logging.getLogger().handlers
        assert isinstance(buffer, PeriodicMemoryHandler)
        target: Any = buffer.target
        written: list[str] = []
        self.patch(target, "emit", lambda record: target.handleError(record))
        self.patch(
            __import__("sys"), "stderr", type("E", (), {"write": written.append, "flush": int})()
        )
        for _ in range(3):
            try:
                raise OSError(28, "No space left on device")
            except OSError:
                logging.getLogger("x").warning("lost")
        self.assertIn("regsys: log_config: handler 'file': ", "".join(written))
        self.assertEqual("".join(written).count("\n"), 1, written)

    def test_check(self) -> None:
        """A check without a start reports the same, and creates no file."""
        gone = {"class": "logging.FileHandler", "filename": str(self.folder / "gone" / "x.log")}
        self.assertIn("no directory", self.refused(stock(self.folder, x=gone), check=True))
        here = {"class": "logging.FileHandler", "filename": str(self.folder)}
        self.assertIn("is a directory", self.refused(stock(self.folder, x=here), check=True))
        broken = stock(self.folder)
        broken["formatters"]["precise"]["format"] = "%(reqest)s %(message)s"
        self.assertIn("reqest", self.refused(broken, check=True))
        LogFile.load(self.file(stock(self.folder))).check("hs.example")
        self.assertEqual(os.listdir(self.folder), ["log.yaml"])


class ProcessTests(SynchronousTestCase):
    def test_stock(self) -> None:
        """A service logs with a homeserver's file: complete lines, with the session, soon and
        without a traceback."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        data = stock(folder)
        data["handlers"]["buffer"]["period"] = 0.1
        (folder / "log.yaml").write_text(yaml.safe_dump(data))
        log_config = {"log_config": str(folder / "log.yaml")}
        service = ServiceProcess(self, write_config(folder, sqlite(folder), **log_config))
        body = {"username": "alice", "password": "x y z"}
        path = "/_matrix/client/v3/register"
        session = service.ask("POST", path, body).json["session"]
        auth = {"type": "m.login.dummy", "session": session}
        self.assertEqual(service.ask("POST", path, {**body, "auth": auth}).status, 200)
        output = service.stop()
        self.assertNotIn("Traceback", output)
        lines = (folder / "homeserver.log").read_text()
        self.assertRegex(
            lines,
            rf" - regsys\.[\w.]+ - [0-9]+ - INFO - POST-[0-9]+-{session[:6]} - registered @alice",
        )
        self.assertIn("stopping: 0 calls under way", lines)
