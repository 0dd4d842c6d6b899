"""``python -m benchmarks.delegation [--quick]``: what accounts cost at a Synapse whose auth service
is regsys, beside a Synapse that keeps them itself.

Two stock Synapses over databases of one kind, and regsys, are measured in turns with a bare hello:
the CPU time of each process, one hash of four rounds taken off where a hash is made. The figures
are ratios of the same round, of many short ones: their median, and between which half of them lies.
Exits with 1 if something costs more than it may. It needs a Synapse: ``tests/support/synapse.py``
says where it comes from.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections import defaultdict
from typing import Any, Mapping, Optional, Sequence
from urllib.parse import urlencode

import attr

from benchmarks import servers
from benchmarks.floors import hash_once
from benchmarks.load import Connection, Load, Operation, close
from benchmarks.measuring import cpu_ms
from benchmarks.operations import (
    ONE_SHOT,
    RESIDENTS,
    Measured,
    hello,
    operations,
    settle_residents,
)
from benchmarks.servers import Cleanups, Server
from tests.support import postgres, service_process, synapse
from tests.support.native_synapse import NativeSynapse
from tests.support.ports import free_port
from tests.support.synapse import SECRET

# At the Synapse and here, in registrations of a Synapse by itself; in its requests with a token; in
# hellos, of which each opens a connection of its own, as introspections do.
THERE, OURS, TOKEN, INTROSPECTION = 0.85, 0.25, 1.1, 3.0
# Many short rounds, because other programs of the machine spoil long ones. The first are not
# counted: what is cached later is not yet cached in them.
ROUNDS, COUNT, WARM_UP = 48, 16, 3
TOKENS = 8


@attr.frozen(kw_only=True)
class Rig:
    """``native`` keeps its accounts itself; those of ``there`` are ``ours``."""

    hello: Server
    native: Server
    there: Server
    ours: Server


@attr.frozen(kw_only=True)
class Step:
    """``count`` operations, or so many times as many, by clients of ``asked``. ``spent`` names what
    the CPU time of each process is; ``hashes``: how many of them the first one makes in each."""

    asked: Server
    operation: Operation
    spent: Mapping[str, Server]
    times: int = 1
    hashes: int = 0


def start(cleanups: Cleanups, database: str) -> Rig:
    """Raises postgres.NotFound, synapse.NotFound."""
    case: Any = cleanups

    def section() -> Mapping[str, Any]:
        if database == "SQLite":
            return service_process.sqlite(servers.folder_for(cleanups))
        made = postgres.shared().create_database()
        cleanups.addCleanup(postgres.shared().drop_database, made)
        return service_process.psycopg2(made)

    port = free_port()
    there = synapse.Synapse(f"http://127.0.0.1:{port}/", section())
    there.prepare()
    cleanups.addCleanup(there.remove)
    there.start()
    # It logs no more than the other one.
    options = {"log_config": str(there.home / "log.yaml")}
    native = NativeSynapse(case, servers.folder_for(cleanups), section(), options)
    native.start()
    ours = _regsys(cleanups, port, section(), there.regsys_options)
    return Rig(
        hello=servers.start_hello(cleanups),
        native=Server("native", native.pid, Load(native.port)),
        there=Server("there", there.pid, Load(there.port)),
        ours=Server("ours", ours.process.pid, Load(port)),
    )


def _regsys(
    cleanups: Cleanups, port: int, section: Mapping[str, Any], there: Mapping[str, Any]
) -> service_process.ServiceProcess:
    listener = {"port": port, "bind_addresses": ["127.0.0.1"], "type": "http", "x_forwarded": True}
    config = service_process.write_config(
        servers.folder_for(cleanups),
        section,
        listeners=[{**listener, "resources": [{"names": ["client", "health"]}]}],
        allow_guest_access=False,
        matrix_authentication_service=there["matrix_authentication_service"],
        regsys={
            "homeserver": there["homeserver"],
            "rc_availability": False,
            # The tests' role is called "regsys", which is where PostgreSQL looks first.
            "database_schema": "auth",
        },
    )
    return service_process.ServiceProcess(cleanups, config)  # type: ignore[arg-type]


async def steps(rig: Rig) -> Sequence[Step]:
    native, tokens = await _operations(rig.native)
    ours, tokens = await _operations(rig.ours)
    made = {"registration, regsys": rig.ours, "registration, its Synapse": rig.there}
    introspect = _introspect(tokens)
    return (
        Step(asked=rig.hello, operation=hello, spent={"hello": rig.hello}, times=4),
        Step(
            asked=rig.hello,
            operation=_on_its_own(rig.hello, hello),
            spent={"hello, own connection": rig.hello},
            times=4,
        ),
        Step(
            asked=rig.ours,
            operation=introspect,
            spent={"introspection, kept connection": rig.ours},
            times=4,
        ),
        Step(
            asked=rig.ours,
            operation=_on_its_own(rig.ours, introspect),
            spent={"introspection, own connection": rig.ours},
            times=4,
        ),
        Step(
            asked=rig.native,
            operation=native[ONE_SHOT].operation,
            spent={"registration, Synapse alone": rig.native},
            hashes=1,
        ),
        Step(asked=rig.ours, operation=ours[ONE_SHOT].operation, spent=made, hashes=1),
        Step(
            asked=rig.native,
            operation=native["whoami"].operation,
            spent={"whoami, Synapse alone": rig.native},
            times=4,
        ),
        Step(
            asked=rig.there,
            operation=ours["whoami"].operation,
            spent={"whoami, regsys's Synapse": rig.there},
            times=4,
        ),
    )


async def _operations(server: Server) -> tuple[Mapping[str, Measured], Sequence[str]]:
    """What can be measured at it, and the tokens of its residents."""
    connections = await server.load.connect()
    tokens = await settle_residents(connections[0])
    await close(connections)
    # Of few tokens most answers are cached.
    few = tokens[:TOKENS] * RESIDENTS
    return {what.name: what for what in operations(few)}, tokens


def _introspect(tokens: Sequence[str]) -> Operation:
    async def introspect(connection: Connection, number: int) -> None:
        form = {"token": tokens[number % len(tokens)], "token_type_hint": "access_token"}
        await connection.ask("POST", "/oauth2/introspect", urlencode(form).encode(), token=SECRET)

    return introspect


def _on_its_own(server: Server, operation: Operation) -> Operation:
    """The operation on a connection of its own, which the client closes."""

    async def on_its_own(kept: Connection, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.load.port)
        await operation(Connection(reader, writer, kept.addresses), number)
        writer.close()
        await writer.wait_closed()

    return on_its_own


async def measure(steps: Sequence[Step], rounds: int, count: int) -> Mapping[str, Sequence[float]]:
    """CPU milliseconds of one operation, by name and round."""
    costs: dict[str, list[float]] = defaultdict(list)
    connections = [await step.asked.load.connect() for step in steps]
    for number in range(-WARM_UP, rounds):
        hash_ms = cpu_ms(hash_once, count)
        # In another order each time, so that drift affects both.
        both = list(zip(steps, connections, strict=True))
        for step, clients in both if number % 2 else reversed(both):
            before = [server.cpu_s() for server in step.spent.values()]
            times = count * step.times
            await step.asked.load.run(clients, step.operation, times)
            hashes_ms = hash_ms * step.hashes
            for (name, server), before_s in zip(step.spent.items(), before, strict=True):
                if number >= 0:
                    spent_ms = (server.cpu_s() - before_s) * 1000 / times
                    costs[name].append(spent_ms - hashes_ms)
                hashes_ms = 0
    for clients in connections:
        await close(clients)
    return costs


@attr.frozen
class Limit:
    """``name`` may cost ``most`` times as much as ``beside``; if ``most`` is None, as it likes."""

    name: str
    beside: str
    most: Optional[float] = None


LIMITS = (
    Limit("registration, its Synapse", "registration, Synapse alone", THERE),
    Limit("registration, regsys", "registration, Synapse alone", OURS),
    Limit("whoami, regsys's Synapse", "whoami, Synapse alone", TOKEN),
    Limit("introspection, own connection", "hello, own connection", INTROSPECTION),
    Limit("introspection, own connection", "hello"),
    Limit("introspection, kept connection", "hello"),
)


def show(costs: Mapping[str, Sequence[float]]) -> list[str]:
    """Print them; returns a sentence for what costs more than it may."""
    for name, rounds in sorted(costs.items()):
        low, middle, _ = statistics.quantiles(rounds)
        print(f"  {name:30}  {low:7.3f}  (median {middle:.3f})")
    too_dear = []
    for limit in LIMITS:
        # Those of one round were measured at about the same time.
        ratios = [a / b for a, b in zip(costs[limit.name], costs[limit.beside], strict=True)]
        low, ratio, high = statistics.quantiles(ratios)
        most = "" if limit.most is None else f", at most {limit.most:g}"
        what = f"{limit.name} / {limit.beside}"
        print(f"  {what}: {ratio:.2f} ({low:.2f}–{high:.2f}{most})")
        if limit.most is not None and ratio > limit.most:
            too_dear.append(f"{limit.name}: {ratio:.2f} > {limit.most}")
    return too_dear


async def show_all(cleanups: Cleanups, database: str, rounds: int, count: int) -> list[str]:
    rig = start(cleanups, database)
    print(f"CPU-ms on {database}", flush=True)
    return show(await measure(await steps(rig), rounds, count))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delegation")
    parser.add_argument(
        "--quick", action="store_true", help="check that it runs; no useful figures"
    )
    parser.add_argument("database", nargs="*", default=["SQLite", "PostgreSQL"])
    chosen = parser.parse_args(arguments)
    too_dear = []
    for database in chosen.database:
        with Cleanups() as cleanups:
            effort = (2, 8) if chosen.quick else (ROUNDS, COUNT)
            try:
                too_dear += asyncio.run(show_all(cleanups, database, *effort))
            except (postgres.NotFound, synapse.NotFound) as missing:
                print(f"{database}: not measured, as there is none: {type(missing).__module__}")
    for complaint in too_dear:
        print(f"too dear: {complaint}")
    return 1 if too_dear and not chosen.quick else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
