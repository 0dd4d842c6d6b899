"""The ways in: which stages a server asks for, from its configuration (BEHAVIOUR B8.6)."""

from __future__ import annotations

from regsys.config import RegistrationConfig

DUMMY = "m.login.dummy"
REGISTRATION_TOKEN = "m.login.registration_token"  # noqa: S105 (the name of a stage)


def registration_flows(config: RegistrationConfig) -> tuple[tuple[str, ...], ...]:
    """The flows of POST /register, in the order in which clients are told of them."""
    flows: list[tuple[str, ...]] = [(DUMMY,)]
    if config.token_bypasses_3pid:
        flows.append((REGISTRATION_TOKEN,))
    if config.requires_token:
        flows = [
            flow if REGISTRATION_TOKEN in flow else (REGISTRATION_TOKEN, *flow) for flow in flows
        ]
    return tuple(flows)


def uses_tokens(config: RegistrationConfig) -> bool:
    """Whether the token stage is on offer at all (B16.2)."""
    return config.requires_token or config.token_bypasses_3pid
