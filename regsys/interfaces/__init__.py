"""The interfaces of regsys, by who brings an implementation.

``homeserver`` has what a homeserver brings, each an argument of ``regsys.embedded``; ``hooks``
what is custom, for ``regsys.hooks``. Those in ``internal`` are not for embedders.

Methods declared ``-> Awaitable[X]`` may use a disk, a network or a thread: implement them as
``async def`` or return a Deferred. The others return at once and never block. Refusals are
exceptions of ``regsys.errors``; None means absent. ``regsys.testing.contracts`` has a suite of
tests for each interface that you may bring: run it against your implementation.
"""

from regsys.interfaces.homeserver import (
    IAccountStore,
    IAccountStoreWithDevices,
    IAppservices,
    IAuth,
    IBlocking,
    IDevices,
    IMonthlyActiveUsers,
    IPushers,
    IRequestSigner,
    IRooms,
    IThreepidStore,
    IUserDirectory,
    IUserLookup,
)
from regsys.interfaces.hooks import (
    ISmsSender,
    IStage,
    IValidationMails,
    StageContext,
    StagePage,
    Verdict,
)

__all__ = [
    "IAccountStore",
    "IAccountStoreWithDevices",
    "IAppservices",
    "IAuth",
    "IBlocking",
    "IDevices",
    "IMonthlyActiveUsers",
    "IPushers",
    "IRequestSigner",
    "IRooms",
    "ISmsSender",
    "IStage",
    "IThreepidStore",
    "IUserDirectory",
    "IUserLookup",
    "IValidationMails",
    "StageContext",
    "StagePage",
    "Verdict",
]
