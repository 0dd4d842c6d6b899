"""Every seam of regsys, by who brings what stands behind it.

Methods are declared ``-> Awaitable[X]`` where they may talk to a disk, a network or a
thread: implement them as ``async def`` or return a Deferred. The others answer at once
and never block. Refusals are exceptions of ``regsys.errors``; None means absent.
``regsys.testing`` holds one contract suite an interface: run it against yours.

``homeserver`` is the one page for embedders; ``stages`` is for who brings a stage.
"""

from regsys.interfaces.bindings import IBindingStore, IIdentityServers
from regsys.interfaces.checks import (
    IBindingChanges,
    ILimiter,
    ISpamChecks,
    IThreepidChanges,
    IThreepidRules,
    ITurnstile,
)
from regsys.interfaces.homeserver import (
    IAccountStore,
    IAuth,
    IBlocking,
    IDevices,
    IPushers,
    IRequestSigner,
    IRooms,
    IThreepidStore,
    IUserDirectory,
    IUserLookup,
)
from regsys.interfaces.proofs import (
    IMailer,
    IPhoneProofs,
    IPhoneProver,
    ISmsSender,
    IValidationMails,
    IValidationStore,
)
from regsys.interfaces.registration import (
    IAdmission,
    IAftermath,
    IAppservices,
    IFarewell,
    IFollowUps,
    IForgetful,
    IHasher,
    ILogins,
    INames,
    IRegistrationWriter,
    Verdict,
)
from regsys.interfaces.stages import (
    ICaptchaVerifier,
    IRegistrationTokenStore,
    ISessionStore,
    IStage,
    StageContext,
    StagePage,
)
from regsys.interfaces.stores import (
    IConsentStore,
    IExpiring,
    IJobStore,
    IMilestones,
    INonceStore,
    IOutcomeStore,
    IPusherStore,
    ITokenStore,
)

__all__ = [
    "IAccountStore",
    "IAdmission",
    "IAftermath",
    "IAppservices",
    "IAuth",
    "IBindingChanges",
    "IBindingStore",
    "IBlocking",
    "ICaptchaVerifier",
    "IConsentStore",
    "IDevices",
    "IExpiring",
    "IFarewell",
    "IFollowUps",
    "IForgetful",
    "IHasher",
    "IIdentityServers",
    "IJobStore",
    "ILimiter",
    "ILogins",
    "IMailer",
    "IMilestones",
    "INames",
    "INonceStore",
    "IOutcomeStore",
    "IPhoneProofs",
    "IPhoneProver",
    "IPusherStore",
    "IPushers",
    "IRegistrationTokenStore",
    "IRegistrationWriter",
    "IRequestSigner",
    "IRooms",
    "ISessionStore",
    "ISmsSender",
    "ISpamChecks",
    "IStage",
    "IThreepidChanges",
    "IThreepidRules",
    "IThreepidStore",
    "ITokenStore",
    "ITurnstile",
    "IUserDirectory",
    "IUserLookup",
    "IValidationMails",
    "IValidationStore",
    "StageContext",
    "StagePage",
    "Verdict",
]
