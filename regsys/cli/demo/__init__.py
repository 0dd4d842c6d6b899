"""The demonstration server of ``regsys serve`` without a configuration, on loopback."""

from __future__ import annotations

import os
import secrets

from regsys.config import Config, ConfigError

DIRECTORY = "regsys-demo"

_TEMPLATE = """\
# Written by `regsys serve` for a demonstration: anybody who reaches it may register.
# Delete this directory to start afresh; see sample_config.yaml for a server of your own.
server_name: localhost
public_baseurl: http://localhost:8008/
listeners:
  - port: 8008
    bind_addresses: ["127.0.0.1"]
    resources:
      - names: [client, health]
enable_registration: true
enable_registration_without_verification: true
allow_guest_access: true
rc_registration: {{per_second: 100, burst_count: 100}}
rc_login:
  address: {{per_second: 100, burst_count: 100}}
  account: {{per_second: 100, burst_count: 100}}
macaroon_secret_key: {secret}
regsys:
  database: {{name: sqlite3, args: {{database: {directory}/accounts.db}}}}
"""


def config_file(create: bool) -> str:
    """The path of the demonstration's configuration, which is written first if ``create``."""
    path = os.path.join(DIRECTORY, "homeserver.yaml")
    if not os.path.exists(path):
        if not create:
            raise ConfigError(["no configuration file: name one with -c FILE"])
        write(path, _TEMPLATE)
    return path


def write(path: str, template: str) -> None:
    """Write a configuration with new secrets, readable by its owner only."""
    os.makedirs(DIRECTORY, mode=0o700, exist_ok=True)
    text = template.format(secret=secrets.token_urlsafe(32), directory=DIRECTORY)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def introduction(config: Config) -> str:
    url = f"{config.public_baseurl}_matrix/client/v3/register"
    body = '{"username": "alice", "password": "wonderland", "auth": {"type": "m.login.dummy"}}'
    return (
        "regsys: a demonstration server, on this machine only, open for registration; its\n"
        f"  secrets and accounts are in ./{DIRECTORY}. Register a first user with\n"
        f"  curl -XPOST {url} -d '{body}'"
    )
