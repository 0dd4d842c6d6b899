"""Uses of every public name for mypy; they are never run.

A line that ends in ``# error: CODE`` is a mistake that mypy must find; it must find no other.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence, Union

from twisted.web.resource import IResource

import regsys
from regsys.interfaces import (
    IAccountStore,
    IAuth,
    IDevices,
    IRequestSigner,
    IUserDirectory,
    IUserLookup,
)
from regsys.model import Challenge, Registration, UserID


def configuration() -> regsys.Config:
    try:
        config = regsys.load(["homeserver.yaml"])
    except regsys.ConfigError as error:
        problems: Sequence[str] = error.problems
        print(problems)
    config = regsys.parse({"server_name": "test.example"})
    name: str = config.server_name
    print(name)
    regsys.load("homeserver.yaml", True)  # error: call-arg
    regsys.parse(["server_name"])  # error: arg-type
    config.server = "test.example"  # error: attr-defined
    regsys.ConfigError(17)  # error: arg-type
    regsys.Config()  # error: call-arg
    return config


def submodules(registration: regsys.Subsystem, resource: IResource, clock: Any) -> object:
    regsys.http.site(resource, clock=clock)
    print(regsys.http.sites)  # error: attr-defined
    regsys.testing.provides(IAuth, registration.auth)
    return regsys.errors.UsernameTaken()


def own_tables(config: regsys.Config, reactor: Any) -> regsys.Subsystem:
    hooks: regsys.Hooks = regsys.hooks(reactor, flows=[("m.login.dummy",)])
    regsys.hooks(reactor, flow=[("m.login.dummy",)])  # error: call-arg
    regsys.hooks(reactor, template_directories=[1])  # error: list-item
    print(hooks.spams)  # error: attr-defined
    regsys.standalone(config, reactor, room=None)  # error: call-arg
    regsys.standalone({"server_name": "test.example"}, reactor)  # error: arg-type
    return regsys.standalone(config, reactor, hooks=hooks)


def own_directory(
    config: regsys.Config, reactor: Any, directory: IUserDirectory, signer: IRequestSigner
) -> regsys.Subsystem:
    regsys.hooks(reactor, directory=directory)  # error: call-arg
    regsys.standalone(config, reactor, signer=directory)  # error: arg-type
    regsys.worker(config, reactor, also=None)  # error: call-arg
    return regsys.standalone(config, reactor, directory=directory, signer=signer)


def own_worker(
    config: regsys.Config, reactor: Any, directory: IUserDirectory, hooks: regsys.Hooks
) -> regsys.Subsystem:
    regsys.worker(config, reactor, directory=hooks)  # error: arg-type
    return regsys.worker(config, reactor, directory=directory, hooks=hooks)


def own_stores(
    config: regsys.Config,
    reactor: Any,
    store: IAccountStore,
    devices: IDevices,
    auth: IAuth,
    users: IUserLookup,
) -> IResource:
    registration = regsys.embedded(
        config, reactor, store=store, devices=devices, auth=auth, users=users
    )
    regsys.embedded(config, reactor, store=store, devices=devices)  # error: call-arg
    regsys.embedded(config, reactor, store=store, devices=store, auth=auth)  # error: arg-type
    regsys.hooks(reactor, users=users)  # error: call-arg
    regsys.standalone(config, reactor, users=users)  # error: call-arg
    registration.resource(17)  # error: arg-type
    registration.begin()  # error: attr-defined
    return registration.resource(["register"])


async def handling(handler: regsys.RegistrationHandler, user_id: UserID) -> None:
    created = await handler.register_user(Registration(key="k", localpart="alice"))
    made: UserID = created.user_id
    await handler.register_user(localpart="alice")
    await handler.register_device("@alice:test.example", is_guest=None)
    print(handler.names)  # error: attr-defined
    await handler.register_user("alice")  # error: arg-type
    # Fields as arguments are not known to mypy; in a Registration they are.
    await handler.register_user(password="b")
    Registration(password="b")  # error: arg-type
    await handler.register_device(user_id, 17)  # error: arg-type
    handler.register(made)  # error: attr-defined


async def confirming(
    confirmation: regsys.Reauthentication, request: regsys.ReauthenticationRequest
) -> Optional[Mapping[str, Any]]:
    answer: Union[regsys.Reauthenticated, Challenge] = await confirmation.confirm(request)
    await confirmation.confirm(request, 17)  # error: call-arg
    regsys.ReauthenticationRequest(method="POST")  # error: call-arg
    regsys.challenge_json(request)  # error: arg-type
    if isinstance(answer, regsys.Reauthenticated):
        print(answer.body)  # error: attr-defined
        return None
    return regsys.challenge_json(answer)
