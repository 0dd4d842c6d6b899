"""Every seam of regsys, by who brings what stands behind it.

Methods are declared ``-> Awaitable[X]`` where they may talk to a disk, a network or a
thread: implement them as ``async def`` or return a Deferred. The others answer at once
and never block. Refusals are exceptions of ``regsys.errors``; None means absent.
``regsys.testing`` holds one contract suite an interface: run it against yours.

``homeserver`` is the one page for embedders; ``stages`` is for who brings a stage.
"""

from regsys.interfaces.bindings import IIdentityServers
from regsys.interfaces.checks import (
    IBindingChanges,
    IConcurrencyLimiter,
    ILimiter,
    IThreepidChanges,
    IThreepidRules,
)
from regsys.interfaces.homeserver import (
    IAccountStore,
    IAuth,
    IBlocking,
    IDevices,
    IHomeserverAccounts,
    IMonthlyActiveUsers,
    IPushers,
    IRequestSigner,
    IRooms,
    IThreepidStore,
    IUserDirectory,
    IUserLookup,
)
from regsys.interfaces.proofs import (
    IMailer,
    IPhoneValidation,
    IPhoneValidationServer,
    ISmsSender,
    IValidationMails,
)
from regsys.interfaces.registration import (
    IAccountData,
    IAppservices,
    IHasher,
    IJobPlanner,
    IRegistrationWriter,
    Verdict,
)
from regsys.interfaces.stages import (
    ICaptchaVerifier,
    IStage,
    StageContext,
    StagePage,
)
from regsys.interfaces.stores import (
    IExpiring,
    INonceStore,
    IOwnThreepidStore,
    IReloadable,
)

__all__ = [
    "IAccountData",
    "IAccountStore",
    "IAppservices",
    "IAuth",
    "IBindingChanges",
    "IBlocking",
    "ICaptchaVerifier",
    "IConcurrencyLimiter",
    "IDevices",
    "IExpiring",
    "IHasher",
    "IHomeserverAccounts",
    "IIdentityServers",
    "IJobPlanner",
    "ILimiter",
    "IMailer",
    "IMonthlyActiveUsers",
    "INonceStore",
    "IOwnThreepidStore",
    "IPhoneValidation",
    "IPhoneValidationServer",
    "IPushers",
    "IRegistrationWriter",
    "IReloadable",
    "IRequestSigner",
    "IRooms",
    "ISmsSender",
    "IStage",
    "IThreepidChanges",
    "IThreepidRules",
    "IThreepidStore",
    "IUserDirectory",
    "IUserLookup",
    "IValidationMails",
    "StageContext",
    "StagePage",
    "Verdict",
]
