"""The shortest server that registers: docs/embedding.md begins with it."""

import sys

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.logger import globalLogBeginner, textFileLogObserver

import regsys
from regsys.http import site

globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
config = regsys.parse(
    {
        "server_name": "example.org",
        "enable_registration": True,
        "enable_registration_without_verification": True,
    }
)
registration = regsys.standalone(config, reactor)
listener = serverFromString(reactor, "tcp:8008:interface=127.0.0.1")
listener.listen(site(registration.resource(), clock=reactor))
reactor.callWhenRunning(registration.startService)
reactor.addSystemEventTrigger("before", "shutdown", registration.stopService)
reactor.run()
