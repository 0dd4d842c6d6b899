"""The API object: what modules do without a request, mails and templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import TemplateNotFound
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys import deadlines
from regsys.model.threepids import Mail
from regsys.modules.base import NotOffered
from regsys.outbound import email
from regsys.testing import standalone
from tests.replication.test_system import RemoteSystem
from tests.support.case import SystemCase
from tests.support.modules import package


class BackgroundCase(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.calls: list[Any] = []
        self.with_module()

    def with_module(self, **options: Any) -> None:
        apis: list[Any] = []
        path = f"{package(self, Module=lambda config, api: apis.append(api) or api)}.Module"
        self.system(modules=[{"module": path}], **options)
        self.api = apis[-1]

    def record(self, *args: Any, **kwargs: Any) -> None:
        self.calls.append((args, kwargs))


class BackgroundTests(BackgroundCase):
    def test_loop(self) -> None:
        """A loop calls after each interval, goes on after an error, waits for a call that takes
        longer, and ends with the subsystem."""
        working: list[Deferred[None]] = []

        async def call(*args: Any, **kwargs: Any) -> None:
            self.record(*args, **kwargs)
            if len(self.calls) == 1:
                raise KeyError("a module's own")
            working.append(Deferred())
            await working[-1]

        self.api.looping_background_call(call, 500, 1, two=2, desc="a loop")
        self.assertEqual(self.calls, [])
        with capturedLogs() as events:
            self.clock.advance(0.5)
        self.assertEqual(self.calls, [((1,), {"two": 2})])
        failed = [event for event in events if event.get("log_failure")]
        self.assertEqual([event["name"] for event in failed], ["a loop"])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.clock.pump([0.5] * 4)
        self.assertEqual(len(self.calls), 2)
        working[0].callback(None)
        self.clock.advance(0.5)
        self.assertEqual(len(self.calls), 3)
        working[1].callback(None)
        self.wait(self.subsystem.stop())
        self.clock.pump([0.5] * 4)
        self.assertEqual(len(self.calls), 3)

    def test_later(self) -> None:
        """A call after its time, unless it is cancelled, or the subsystem has stopped."""
        self.api.delayed_background_call(1000, self.record, 1, two=2)
        self.api.delayed_background_call(1000, self.record, 3).cancel()
        self.clock.advance(0.9)
        self.assertEqual(self.calls, [])
        self.clock.advance(0.1)
        self.assertEqual(self.calls, [((1,), {"two": 2})])
        self.api.delayed_background_call(1000, self.record, 4)
        self.wait(self.subsystem.stop())
        self.api.delayed_background_call(1000, self.record, 5)
        self.api.looping_background_call(self.record, 1000)
        self.clock.advance(2.0)
        self.assertEqual(len(self.calls), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_process(self) -> None:
        """It begins at once, awaited or not; a failure is logged, and its result None."""

        async def add(one: int, two: int = 0) -> int:
            return one + two

        run = self.api.run_as_background_process
        self.assertEqual(self.successResultOf(run("add", add, 1, two=2)), 3)
        self.assertEqual(self.successResultOf(run("add", sum, [1, 2], bg_start_span=False)), 3)
        self.assertIsNone(self.successResultOf(run("divide", lambda: 1 // 0)))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_afterRequest(self) -> None:
        """What a request begins has not the deadline of that request."""

        async def request() -> Any:
            with deadlines.for_request(self.clock):
                self.assertIsNotNone(deadlines.current())
                begun = await self.api.run_as_background_process("x", deadlines.current)
                return begun, deadlines.current()

        begun, after = self.wait(request())
        self.assertIsNone(begun)
        self.assertIsNotNone(after)

    def test_sleep(self) -> None:
        asleep = Deferred.fromCoroutine(self.api.sleep(2))
        self.clock.advance(1.9)
        self.assertNoResult(asleep)
        self.clock.advance(0.1)
        self.assertIsNone(self.successResultOf(asleep))

    def test_thread(self) -> None:
        self.assertEqual(self.wait(self.api.defer_to_thread(int, "12", base=3)), 5)
        raising = Deferred.fromCoroutine(self.api.defer_to_thread(int, "x"))
        self.failureResultOf(raising, ValueError)


class WorkerTests(RemoteSystem, BackgroundCase):
    def test_worker(self) -> None:
        """What must run once runs in the main process, unless the module wants it everywhere."""
        self.assertIsNone(self.api.delayed_background_call(1000, self.record, 1))
        self.api.looping_background_call(self.record, 1000, 2)
        for method, args in (
            (self.api.delayed_background_call, (1000, self.record, 3)),
            (self.api.looping_background_call, (self.record, 1000, 4)),
        ):
            method(*args, run_on_all_instances=True)
        self.clock.advance(1.0)
        self.assertEqual(sorted(args for args, _ in self.calls), [(3,), (4,)])


class MailTests(BackgroundCase):
    def test_mail(self) -> None:
        """A mail goes to the configured server; without one the call says so."""
        sent: list[Mail] = []

        async def send(self: Any, mail: Mail) -> None:
            sent.append(mail)

        self.patch(email.SMTPMailer, "send", send)
        self.with_module(email={"notif_from": "server@test.example"})
        self.wait(self.api.send_mail("a@mail.example", "Hello", "<p>html</p>", "text"))
        self.assertEqual(
            sent, [Mail(to="a@mail.example", subject="Hello", html="<p>html</p>", text="text")]
        )
        self.with_module()
        asked = Deferred.fromCoroutine(self.api.send_mail("a@mail.example", "x", "x", "x"))
        self.assertIn("email", str(self.failureResultOf(asked, NotOffered).value))


class TemplateTests(BackgroundCase):
    def test_templates(self) -> None:
        """A module's own directory comes first, then the administrator's, then ours."""
        ours, admins = Path(self.mktemp()), Path(self.mktemp())
        for folder, names in ((ours, "own.html"), (admins, "own.html theirs.txt")):
            folder.mkdir()
            for name in names.split():
                (folder / name).write_text(f"{folder.name} {{{{ x }}}} {{{{ server_name }}}}")
        (ours / "filters.html").write_text(
            "{{ 0 | format_ts('%Y') }} {{ 'mxc://a.example/b' | mxc_to_http(1, 2) }}"
        )
        self.with_module(templates={"custom_template_directory": str(admins)})
        read = self.api.read_templates
        own, theirs, filters = read(["own.html", "theirs.txt", "filters.html"], str(ours))
        self.assertEqual(own.render(x="<b>"), f"{ours.name} &lt;b&gt; test.example")
        self.assertEqual(theirs.render(x="<b>"), f"{admins.name} <b> test.example")
        year, _, address = filters.render().partition(" ")
        self.assertIn(year, ("1969", "1970"))
        self.assertEqual(
            address,
            "https://test.example/_matrix/media/v1/thumbnail/a.example/b"
            "?width=1&amp;height=2&amp;method=crop",
        )
        (plain,) = read(["own.html"])
        self.assertTrue(plain.render(x=1).startswith(admins.name))
        self.assertRaises(TemplateNotFound, read, ["nowhere.html"])


class _Starting(Clock):
    """A reactor that does not run yet."""

    def __init__(self) -> None:
        super().__init__()
        self.begin: Deferred[None] = Deferred()

    def callWhenRunning(self, function: Any, *args: Any) -> None:
        self.begin.addCallback(lambda _: function(*args))


class ConstructorTests(SynchronousTestCase):
    def test_everything(self) -> None:
        """Every method can be called when a module is made; what needs the reactor begins with
        it."""
        begun: dict[str, Deferred[Any]] = {}
        made: list[Any] = []

        class Module:
            def __init__(self, config: Any, api: Any) -> None:
                made.append(api.read_templates(["page.html"]))
                made.append(api.http_client)
                made.append(api.get_qualified_user_id("alice"))
                api.looping_background_call(made.append, 1000, "loop")
                api.delayed_background_call(1000, made.append, "later")
                begun["later"] = Deferred.fromCoroutine(api.sleep(1))
                for method, args in {
                    "register": ("alice",),
                    "check_user_exists": ("@bob:test.example",),
                    "run_db_interaction": ("x", lambda txn: 5),
                    "run_as_background_process": ("x", lambda: 6),
                }.items():
                    begun[method] = getattr(api, method)(*args)
                for method, args in {
                    "check_username": ("carol",),
                    "get_threepids_for_user": ("@alice:test.example",),
                    "defer_to_thread": (int, "7"),
                }.items():
                    begun[method] = Deferred.fromCoroutine(getattr(api, method)(*args))

        clock = _Starting()
        path = f"{package(self, Module=Module)}.Module"
        subsystem = standalone(self, clock, modules=[{"module": path}])
        for deferred in begun.values():
            self.assertNoResult(deferred)
        clock.begin.callback(None)
        clock.advance(1.0)
        results = {method: self.successResultOf(deferred) for method, deferred in begun.items()}
        self.assertEqual(results.pop("register")[0], "@alice:test.example")
        self.assertEqual(
            results,
            {
                "later": None,
                "check_user_exists": None,
                "run_db_interaction": 5,
                "run_as_background_process": 6,
                "check_username": None,
                "get_threepids_for_user": [],
                "defer_to_thread": 7,
            },
        )
        self.assertEqual(made[-2:], ["loop", "later"])
        self.successResultOf(Deferred.fromCoroutine(subsystem.stop()))
