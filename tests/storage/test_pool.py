"""What a pool knows of its connections: which to use, which to probe, which to close."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.storage.pool import IDLE_S, Connections
from regsys.storage.postgresql import SILENCE_S

SOON_S = SILENCE_S / 2
LONG_S = SILENCE_S * 2


class ConnectionsTests(SynchronousTestCase):
    """Names stand for connections."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cut: list[str] = []
        self.known = Connections(self.cut.append, self.clock.seconds)

    def assertLogged(self, *names: str) -> None:
        for name in names:
            self.known.use(name)
            self.known.hear(name)

    def test_fresh(self) -> None:
        """A connection that has answered lately is used directly; one that was idle is probed."""
        self.assertLogged("one")
        self.clock.advance(IDLE_S)
        self.assertFalse(self.known.is_doubtful("one"))
        self.clock.advance(0.01)
        self.assertTrue(self.known.is_doubtful("one"))
        self.assertFalse(self.known.is_condemned("one"))
        self.known.hear("one")
        self.assertFalse(self.known.is_doubtful("one"))

    def test_silence(self) -> None:
        """After an unanswered probe those are closed that have not answered since, and calls that
        wait for one of them are freed; a connection that has answered or was made since is left
        alone."""
        self.assertLogged("idle", "busy", "alive")
        self.clock.advance(0.1)
        since_s = self.clock.seconds()
        self.known.use("busy")
        self.clock.advance(LONG_S)
        self.assertLogged("alive", "new")
        self.known.use("alive")
        self.known.prove_dead(since_s)
        condemned = [name for name in ("idle", "busy", "alive", "new") if self.is_condemned(name)]
        self.assertEqual(condemned, ["idle", "busy"])
        self.assertEqual(self.cut, ["busy"])

    def is_condemned(self, name: str) -> bool:
        return self.known.is_condemned(name)

    def test_closed(self) -> None:
        """If one was closed by the server the others are probed, and none is cut off."""
        self.assertLogged("idle", "busy")
        self.clock.advance(0.1)
        since_s = self.clock.seconds()
        self.known.use("busy")
        self.clock.advance(SOON_S)
        self.assertLogged("alive")
        self.known.prove_dead(since_s)
        self.assertTrue(self.known.is_doubtful("idle"))
        self.assertFalse(self.known.is_doubtful("alive"))
        self.assertFalse(self.is_condemned("idle"))
        self.assertEqual(self.cut, [])

    def test_forgotten(self) -> None:
        """A connection that is about to be closed is not cut: another may have its descriptor by
        then."""
        self.known.use("one")
        self.clock.advance(0.1)
        since_s = self.clock.seconds()
        self.known.forget("one")
        self.clock.advance(LONG_S)
        self.known.prove_dead(since_s)
        self.assertEqual(self.cut, [])

    def test_released(self) -> None:
        """A call that has failed proves nothing, and leaves no call to be freed."""
        self.assertLogged("one")
        self.known.use("one")
        self.clock.advance(IDLE_S + 0.1)
        self.known.release("one")
        self.assertTrue(self.known.is_doubtful("one"))
        self.clock.advance(LONG_S)
        self.known.prove_dead(self.clock.seconds() - LONG_S)
        self.assertEqual(self.cut, [])
