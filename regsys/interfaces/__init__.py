"""Every seam of regsys, by who brings what stands behind it.

Methods are declared ``-> Awaitable[X]`` where they may talk to a disk, a network or a
thread: implement them as ``async def`` or return a Deferred. The others answer at once
and never block. Refusals are exceptions of ``regsys.errors``; None means absent.
``regsys.testing`` holds one contract suite an interface: run it against yours.

``homeserver`` is the one page for embedders; ``stages`` is for who brings a stage.
"""

from regsys.interfaces.checks import (
    IConcurrencyLimiter,
    ILimiter,
    IThreepidRules,
)
from regsys.interfaces.homeserver import (
    IAccountStore,
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
    IStage,
    StageContext,
    StagePage,
)
from regsys.interfaces.internal import (
    IAccountData,
    IAppservices,
    IJobPlanner,
    IRegistrationWriter,
    Verdict,
)
from regsys.interfaces.proofs import (
    IPhoneValidation,
    ISmsSender,
    IValidationMails,
)
from regsys.interfaces.stores import (
    IExpiring,
    IOwnThreepidStore,
)

__all__ = [
    "IAccountData",
    "IAccountStore",
    "IAppservices",
    "IAuth",
    "IBlocking",
    "IConcurrencyLimiter",
    "IDevices",
    "IExpiring",
    "IJobPlanner",
    "ILimiter",
    "IMonthlyActiveUsers",
    "IOwnThreepidStore",
    "IPhoneValidation",
    "IPushers",
    "IRegistrationWriter",
    "IRequestSigner",
    "IRooms",
    "ISmsSender",
    "IStage",
    "IThreepidRules",
    "IThreepidStore",
    "IUserDirectory",
    "IUserLookup",
    "IValidationMails",
    "StageContext",
    "StagePage",
    "Verdict",
]
