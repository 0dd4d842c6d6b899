"""Configuration files of other tools: regsys starts with each of them unchanged."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.support.ports import free_port
from tests.support.service_process import ServiceProcess
from tests.test_log_config import stock

REGISTER = "/_matrix/client/v3/register"


class StockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.port = free_port()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("FOLDER", str(self.folder)).replace("PORT", str(self.port)))
        return path

    def served(self, service: ServiceProcess) -> str:
        """It answers clients; its output after an orderly end."""
        answer = service.ask("GET", "/_matrix/client/versions")
        self.assertEqual((answer.status, "versions" in answer.json), (200, True))
        self.assertEqual(service.ask("POST", REGISTER, {}).status, 403)
        output = service.stop()
        self.assertNotIn("Traceback", output)
        return output

    def test_generated(self) -> None:
        """The files that Synapse's own tool generates: the configuration, and one for the log."""
        (self.folder / "log.config").write_text(yaml.safe_dump(stock(self.folder)))
        config = self.write(
            "homeserver.yaml",
            """
            # Comments at the top.
            server_name: "generated.example"
            pid_file: FOLDER/homeserver.pid
            listeners:
              - port: PORT
                resources:
                - compress: false
                  names:
                  - client
                  - federation
                tls: false
                type: http
                x_forwarded: true
                bind_addresses: ['::1', '127.0.0.1']
            database:
              name: sqlite3
              args:
                database: FOLDER/homeserver.db
            log_config: "FOLDER/log.config"
            media_store_path: FOLDER/media_store
            registration_shared_secret: "one of thirty letters"
            report_stats: true
            macaroon_secret_key: "another"
            form_secret: "a third"
            signing_key_path: "FOLDER/signing.key"
            trusted_key_servers:
              - server_name: "matrix.org"
            """,
        )
        output = self.served(ServiceProcess(self, config))
        self.assertIn("options without effect here: ", output)
        lines = (self.folder / "homeserver.log").read_text()
        self.assertIn("stopping: 0 calls under way", lines)
        self.assertFalse((self.folder / "homeserver.pid").exists())

    def test_distributions(self) -> None:
        """A distribution's package: a file that its administrator edits, and a directory beside it
        with the answers given at its installation; the pid file in a directory of its own."""
        config = self.write(
            "homeserver.yaml",
            """
            pid_file: "FOLDER/run/homeserver.pid"
            listeners:
              - port: PORT
                tls: false
                type: http
                x_forwarded: true
                bind_addresses: ['[::1]', '127.0.0.1']
                resources:
                  - names: [client, federation]
                    compress: false
            database:
              name: sqlite3
              args:
                database: FOLDER/homeserver.db
            log_config: "FOLDER/log.yaml"
            media_store_path: FOLDER/media
            signing_key_path: "FOLDER/homeserver.signing.key"
            trusted_key_servers:
              - server_name: "matrix.org"
            registration_shared_secret_path: FOLDER/conf.d/registration.key
            macaroon_secret_key_path: FOLDER/conf.d/macaroon.key
            """,
        )
        self.write("run/keep", "")
        self.write("conf.d/server_name.yaml", "# by the installation\nserver_name: deb.example\n")
        self.write("conf.d/report_stats.yaml", "report_stats: false\n")
        self.write("conf.d/macaroon.key", "a key\n").chmod(0o600)
        (self.folder / "log.yaml").write_text(yaml.safe_dump(self.plain_log()))
        service = ServiceProcess(self, config, self.folder / "conf.d")
        made = self.folder / "conf.d" / "registration.key"
        self.assertEqual(stat.S_IMODE(made.stat().st_mode), 0o600)
        self.assertTrue((self.folder / "run" / "homeserver.pid").exists())
        nonce = service.ask("GET", "/_synapse/admin/v1/register")
        self.assertEqual(nonce.status, 200, nonce)
        self.assertIn("registration.key: it was made", self.served(service))

    def plain_log(self) -> Any:
        """Lines to a file, with the filter that older homeservers had."""
        data = stock(self.folder)
        data["filters"] = {
            "context": {"()": "synapse.util.logcontext.LoggingContextFilter", "request": ""}
        }
        data["handlers"]["console"]["filters"] = ["context"]
        data["root"] = {"level": "INFO", "handlers": ["file", "console"]}
        return data

    def test_modules(self) -> None:
        """A distribution's module that writes every option, most of them empty."""
        empty = (
            "recaptcha_private_key",
            "recaptcha_public_key",
            "registration_shared_secret",
            "macaroon_secret_key",
            "form_secret",
            "turn_shared_secret",
        )
        data = {
            **dict.fromkeys(empty, ""),
            "server_name": "nix.example",
            "public_baseurl": "https://nix.example/",
            "listeners": [
                {
                    "port": self.port,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "tls": False,
                    "x_forwarded": True,
                    "resources": [
                        {"names": ["client"], "compress": True},
                        {"names": ["federation"], "compress": False},
                    ],
                }
            ],
            "database": {
                "name": "sqlite3",
                "args": {"database": str(self.folder / "homeserver.db")},
            },
            "email": {"smtp_user": "", "smtp_pass": ""},
            "enable_registration": False,
            "enable_registration_captcha": False,
            "app_service_config_files": [],
            "account_validity": {},
            "password_config": {"enabled": True, "pepper": ""},
            "pid_file": str(self.folder / "homeserver.pid"),
            "redis": {"enabled": False},
            "tls_certificate_path": None,
            "turn_uris": [],
            "url_preview_enabled": False,
            "worker_app": "synapse.app.homeserver",
        }
        output = self.served(
            ServiceProcess(self, self.write("homeserver.yaml", yaml.safe_dump(data)))
        )
        for name in empty[:1] + empty[2:5]:
            self.assertIn(f"warning: {name} is empty and counts as not set", output)
        self.assertNotIn("account_validity has no effect in regsys", output)
