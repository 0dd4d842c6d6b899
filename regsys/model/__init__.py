"""The frozen values that cross interfaces. Times are integer milliseconds since the Unix epoch."""

from regsys.model.accounts import (
    AccountFacts,
    Created,
    NewAccount,
    User,
    UserType,
)
from regsys.model.appservices import (
    Appservice,
    UserNamespace,
)
from regsys.model.devices import (
    DeviceRequest,
    Login,
    LoginTerms,
    NewDevice,
)
from regsys.model.identity import (
    GUEST_DEVICE_ID,
    AccountThreepid,
    Client,
    Requester,
    Secret,
    Threepid,
    UserID,
)
from regsys.model.jobs import (
    JOB_LEASE_MS,
)
from regsys.model.registration import (
    Registration,
)
from regsys.model.rooms import (
    FoundRoom,
    NewRoom,
    Pusher,
)
from regsys.model.threepids import (
    MailPurpose,
    ValidationMail,
)
from regsys.model.uia import (
    Challenge,
    UIASession,
)

__all__ = [
    "GUEST_DEVICE_ID",
    "JOB_LEASE_MS",
    "AccountFacts",
    "AccountThreepid",
    "Appservice",
    "Challenge",
    "Client",
    "Created",
    "DeviceRequest",
    "FoundRoom",
    "Login",
    "LoginTerms",
    "MailPurpose",
    "NewAccount",
    "NewDevice",
    "NewRoom",
    "Pusher",
    "Registration",
    "Requester",
    "Secret",
    "Threepid",
    "UIASession",
    "User",
    "UserID",
    "UserNamespace",
    "UserType",
    "ValidationMail",
]
