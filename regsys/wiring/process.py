"""What one process owns: database, hashing threads, HTTP clients, secret."""

from __future__ import annotations

import contextlib
import secrets
import time
from importlib import import_module
from typing import Any, Callable, Iterator, Optional, Sequence

import attr
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from regsys.config import Config, DatabaseConfig
from regsys.credentials.hashing import LEAST_WAITING, WAITING, HashingPool, HashingThreads
from regsys.interfaces.internal import IBucketStore
from regsys.limits.shared import CircuitBreaker
from regsys.metrics import Metrics
from regsys.modules.threads import ModuleThreads
from regsys.outbound import redis, synapse_requests
from regsys.outbound.guarded import own_resolver, resolve_apart
from regsys.outbound.http import HTTPClient
from regsys.outbound.master import Master
from regsys.outbound.persistent import PersistentClient
from regsys.storage import migrations
from regsys.storage.database import Database, Transaction
from regsys.storage.dialects import Dialect
from regsys.storage.modules_database import opened
from regsys.storage.own_thread import OwnThread
from regsys.storage.pool import connection_pool
from regsys.storage.postgresql import PostgreSQL
from regsys.storage.rate_limits import RateLimitStore
from regsys.storage.secrets import get_or_keep, is_as_before
from regsys.storage.server_state import handed_back_ms
from regsys.storage.sqlite import SQLite
from regsys.storage.sqlite_file import create_private

HANDED_BACK = (
    "regsys hand-back has been run. If its SQL was executed, the homeserver has changed its"
    " accounts since, and those here are old: run regsys adopt, which says what to do"
)

log = Logger()


class CannotStart(Exception):
    """The database cannot be used; the text says why, for an operator."""


@attr.frozen(kw_only=True)
class Process:
    """``macaroon_secret`` is the key of guest tokens and of the random part of all other tokens
    (contract B4).

    ``exposed`` is what /metrics shows: ``metrics``, or the sum of several processes'.
    ``buckets`` are those of limits that several processes share; None if this one counts by itself.
    ``master`` is the connection of a worker to its master; None for a main process. ``homeserver``
    are those to the homeserver whose auth service this is; None if ``http`` makes one for each
    request, or there is none. ``http`` asks other servers, such as a captcha's (each service by a
    client ``apart``);
    ``guarded_http`` asks those that clients name. ``modules_database`` is of the modules alone,
    None without modules; ``in_modules_thread`` calls a function of theirs. ``start`` and ``stop``
    are for the threads. ``stop`` blocks until ours have ended, unless ``refuse_hashes`` was called:
    from then on no request gets a hash, and those under way are dropped.
    """

    database: Database
    hasher: HashingPool
    http: HTTPClient
    guarded_http: HTTPClient
    macaroon_secret: bytes = attr.field(repr=False)
    buckets: Optional[IBucketStore] = None
    master: Optional[Master] = None
    homeserver: Optional[PersistentClient] = None
    metrics: Metrics = attr.field(factory=Metrics)
    exposed: Collector = attr.field()
    seconds: Callable[[], float] = time.monotonic
    modules_database: Optional[Database] = None
    in_modules_thread: Callable[..., Deferred[Any]] = maybeDeferred
    start: Callable[[], None] = lambda: None
    stop: Callable[[], None] = lambda: None
    refuse_hashes: Callable[[], None] = lambda: None

    @exposed.default
    def _own(self) -> Collector:
        return self.metrics.registry


def dialect(config: DatabaseConfig) -> Dialect:
    if config.engine == "postgres":
        return PostgreSQL(config.args, config.schema)
    assert config.path is not None
    return SQLite(config.path)


def connect(config: DatabaseConfig) -> Any:
    """One connection, outside of any pool. Raises CannotStart."""
    chosen = dialect(config)
    with cannot_start(chosen, "the database cannot be opened"):
        if isinstance(chosen, SQLite):
            # It will hold password hashes.
            create_private(chosen.path)
        connection = _driver(chosen).connect(**_patient(chosen).connect_args())
        chosen.opened(connection)
    problem = chosen.problem(connection)
    if problem is not None:
        connection.close()
        raise CannotStart(problem)
    return connection


@contextlib.contextmanager
def cannot_start(chosen: Dialect, what: str) -> Iterator[None]:
    """Turns what the database or its driver raises into a CannotStart that says ``what`` and
    why."""
    driver = _driver(chosen)
    try:
        yield
    except (driver.Error, OSError) as error:
        chosen.redact(error)
        raise CannotStart(f"{what}: {chosen.explain(error)}") from None


def _opened(chosen: Dialect) -> Any:
    """As the pool opens its connections."""
    connection = _driver(chosen).connect(**chosen.pool_args())
    chosen.opened(connection)
    return connection


def _driver(chosen: Dialect) -> Any:
    try:
        return import_module(chosen.module)
    except ImportError:
        raise CannotStart(
            "PostgreSQL needs its driver: run pip install 'regsys[postgres]'"
        ) from None


def _patient(chosen: Dialect) -> Dialect:
    """The same with a longer timeout for connecting, as this is tried once."""
    if isinstance(chosen, SQLite):
        return chosen
    return attr.evolve(chosen, args={"connect_timeout": 10, **chosen.args})


def prepare(
    config: Config, tell: Callable[[str], None] = migrations.warn
) -> tuple[Sequence[int], bytes]:
    """Bring the schema up to date and fetch the macaroon secret, making one if none is set.

    Returns the schema numbers that were applied, and the secret. Blocks: call it before
    the reactor runs, or in a thread. ``tell`` is called with a sentence if it has to wait, and for
    each secret that another process over this database had otherwise. Raises CannotStart and
    NewerSchema.
    """
    if config.database.path == ":memory:":
        raise CannotStart("an SQLite database in memory cannot be served: name a file")
    connection = connect(config.database)
    chosen = dialect(config.database)
    with contextlib.closing(connection), cannot_start(chosen, "the database cannot be prepared"):
        applied = migrations.migrate(connection, chosen, tell)
        txn = Transaction(connection.cursor(), chosen)
        if config.tokens.macaroon_secret_key is not None:
            secret = config.tokens.macaroon_secret_key.reveal()
        else:
            secret = get_or_keep(txn, "macaroon_secret_key", secrets.token_urlsafe(32))
        _compare_secrets(txn, config, secret, tell)
        if config.delegation is not None and handed_back_ms(txn) is not None:
            tell(HANDED_BACK)
    return applied, secret.encode("utf-8")


def _compare_secrets(
    txn: Transaction, config: Config, macaroon_secret: str, tell: Callable[[str], None]
) -> None:
    """Tell of each secret that the process before had otherwise. This is no error: to change a
    secret on purpose looks the same."""
    form_secret, shared_secret = config.terms.form_secret, config.registration.shared_secret
    for name, value in {
        "macaroon_secret_key": macaroon_secret,
        "password_config.pepper": config.passwords.pepper.reveal(),
        "form_secret": form_secret.reveal() if form_secret else "",
        "registration_shared_secret": shared_secret.reveal() if shared_secret else "",
    }.items():
        if not is_as_before(txn, name, value):
            tell(
                f"{name} is not the one of the process that was started before over this database."
                " If you have changed it, restart all other processes, too; else give all the"
                " same one: what one process signs or hashes with it another does not accept"
            )


def open_process(
    config: Config, reactor: Any, macaroon_secret: bytes, processes: int = 1
) -> Process:
    """A pool of connections to the database, which ``prepare`` has prepared, and of niced threads
    for hashing. ``processes``: how many share this machine's cores, and their limits. Raises
    CannotStart."""
    metrics = Metrics()
    chosen = dialect(config.database)
    with cannot_start(chosen, "the database cannot be opened"):
        # From now on it is known which file is meant.
        chosen.check()
    pool = connection_pool(chosen, reactor, config.database.pool_min, config.database.pool_max)
    database = Database(pool, chosen, reactor, observe=metrics.database_call)
    threads = HashingThreads(reactor, processes=processes)
    hasher = hashing_pool(config, threads.run, threads.size, processes=processes)
    metrics.hashes_waiting.set_function(lambda: hasher.waiting)
    place, buckets = _buckets(config, database, reactor, metrics, processes)

    of_modules: Optional[OwnThread] = None
    modules_database: Optional[Database] = None
    if config.modules.modules:
        modules_database, of_modules = opened(chosen, reactor)
        resolve_apart(reactor)

    def start() -> None:
        threads.start()
        pool.start()
        log.info("rate limits are counted in {place}", place=place)

    def stop() -> None:
        if buckets is not None:
            buckets.close()
        pool.close()
        if of_modules is not None:
            of_modules.close()
        if not hasher.refuses:
            threads.stop()

    return Process(
        database=database,
        hasher=hasher,
        http=HTTPClient.on(reactor, config.proxies),
        guarded_http=HTTPClient.guarded(
            reactor,
            config.proxies,
            config.identity_servers.networks,
            own_resolver(reactor),
        ),
        macaroon_secret=macaroon_secret,
        buckets=buckets,
        master=None if config.worker is None else Master.on(reactor, config.worker),
        homeserver=None
        if config.delegation is None
        else synapse_requests.connections(reactor, config.delegation),
        metrics=metrics,
        modules_database=modules_database,
        in_modules_thread=ModuleThreads(reactor).run,
        start=start,
        stop=stop,
        refuse_hashes=hasher.refuse,
    )


def counts_together(config: Config, processes: int) -> bool:
    """Whether limits are counted in PostgreSQL: as the file says, else if this process knows itself
    to be one of several."""
    if config.limits.shared is not None:
        return config.limits.shared
    is_replicated = config.worker is not None or config.replication_secret is not None
    return config.database.engine == "postgres" and (processes > 1 or is_replicated)


def _buckets(
    config: Config, database: Database, reactor: Any, metrics: Metrics, processes: int
) -> tuple[str, Optional[IBucketStore]]:
    """Where limits are counted, in a word for the operator, and the store if it is shared. Raises
    CannotStart."""
    store: IBucketStore
    if config.redis is None and not counts_together(config, processes):
        metrics.limits_counted_in("this process")
        return "this process", None
    if config.redis is not None:
        place = "Redis"
        try:
            store = redis.RedisBuckets(redis.endpoint(config.redis, reactor), config.redis, reactor)
        except redis.UnusableFiles as error:
            raise CannotStart(f"redis: the files for TLS cannot be used: {error}") from None
    else:
        place = "PostgreSQL"
        store = RateLimitStore.beside(database, reactor, lambda: _opened(database.dialect))
    report = metrics.limits_counted_in(place)
    return place, CircuitBreaker(store=store, name=place, seconds=time.monotonic, report=report)


def hashing_pool(
    config: Config,
    run: Callable[..., Any],
    threads: int,
    seconds: Optional[Callable[[], float]] = None,
    processes: int = 1,
) -> HashingPool:
    """``processes``: how many share the cores, and the calls that may wait: so the longest wait is
    that of one process which has all cores."""
    return HashingPool(
        run=run,
        threads=threads,
        seconds=seconds or time.monotonic,
        rounds=config.passwords.bcrypt_rounds,
        pepper=config.passwords.pepper.reveal(),
        truncate=config.passwords.truncate_long,
        waiting_limit=max(LEAST_WAITING, WAITING // processes),
    )
