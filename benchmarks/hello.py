"""The baseline: the cheapest response of twisted.web. ``python -m benchmarks.hello PORT``."""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Request, Site


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b"hello"


def main(port: int) -> None:
    reactor.listenTCP(port, Site(Hello()), interface="127.0.0.1")
    reactor.callWhenRunning(print, "ready", flush=True)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
