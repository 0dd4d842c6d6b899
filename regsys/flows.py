"""The ways in: which stages a server asks for, from its configuration (BEHAVIOUR B8.6)."""

from __future__ import annotations

from regsys.config import RegistrationConfig

DUMMY = "m.login.dummy"
TERMS = "m.login.terms"
REGISTRATION_TOKEN = "m.login.registration_token"  # noqa: S105 (the name of a stage)


def registration_flows(
    config: RegistrationConfig, *, terms: bool = False
) -> tuple[tuple[str, ...], ...]:
    """The flows of POST /register, in the order in which clients are told of them. ``terms``:
    newcomers must accept policies."""
    flows: list[tuple[str, ...]] = [(DUMMY,)]
    if config.token_bypasses_3pid:
        flows.append((REGISTRATION_TOKEN,))
    for stage, is_asked in (
        (TERMS, terms),
        (REGISTRATION_TOKEN, config.requires_token),
    ):
        if is_asked:
            flows = [flow if stage in flow else (stage, *flow) for flow in flows]
    return tuple(flows)


def uses_tokens(config: RegistrationConfig) -> bool:
    """Whether the token stage is on offer at all (B16.2)."""
    return config.requires_token or config.token_bypasses_3pid
