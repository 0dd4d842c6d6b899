"""Runs the reverse proxies whose examples are in the documentation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Mapping

from twisted.trial.unittest import SynchronousTestCase

from tests.support.missing import not_tried
from tests.support.patience import until
from tests.support.ports import free_port, is_open

DOCS = Path(__file__).parents[2] / "docs"


class ProxyExamples:
    """The examples of one page. Each of ``ports``, as it stands on the page, is replaced by a free
    one, which ``self.ports`` has. A page may have an example for nginx, HAProxy and Caddy; a run
    proxy has parsed it without a complaint, listens, and is ended with the test."""

    def __init__(self, case: SynchronousTestCase, page: str, ports: tuple[str, ...]) -> None:
        self.case = case
        self.page = page
        self.folder = Path(case.mktemp()).resolve()
        self.folder.mkdir()
        self.ports: Mapping[str, str] = {port: str(free_port()) for port in ports}

    def run_nginx(self) -> None:
        config = self.folder / "nginx.conf"
        # Without it root's workers are somebody else, who may not write into our folder.
        user = "user root; " if os.geteuid() == 0 else ""
        config.write_text(
            f"{user}daemon off; pid {self.folder}/pid; error_log {self.folder}/error.log;\n"
            "events {}\nhttp { access_log off;\n"
            + "".join(
                f"{kind}_temp_path {self.folder}/{kind};\n"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            + self._example("nginx")
            + "}\n"
        )
        command = (self._program("nginx"), "-p", str(self.folder), "-c", str(config))
        self._check(*command, "-t")
        self._run(*command)

    def run_haproxy(self) -> None:
        program, config = self._program("haproxy"), self.folder / "haproxy.cfg"
        config.write_text(self._example("haproxy"))
        self._check(program, "-c", "-dW", "-f", str(config))
        self._run(program, "-db", "-f", str(config))

    def run_caddy(self) -> None:
        program, config = self._program("caddy"), self.folder / "Caddyfile"
        # It would open another port, for its administration.
        config.write_text("{\n\tadmin off\n}\n" + self._example("caddy"))
        arguments = ("--config", str(config), "--adapter", "caddyfile")
        self._check(program, "validate", *arguments)
        self._run(program, "run", *arguments)

    def _example(self, language: str) -> str:
        text = (DOCS / self.page).read_text()
        (example,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for port, free in self.ports.items():
            self.case.assertIn(port, example)
            example = example.replace(port, free)
        return str(example)

    def _program(self, name: str) -> str:
        # Debian has them where only root looks.
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
        if found is None:
            reason = f"{name} was not found, so its example in docs/{self.page} was not tried."
            not_tried(self.case, reason)
        return found

    def _check(self, *command: str) -> None:
        checked = subprocess.run(
            command, cwd=self.folder, env=self._environment(), capture_output=True, text=True
        )
        self.case.assertEqual(checked.returncode, 0, checked.stderr)

    def _run(self, *command: str) -> None:
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def end() -> None:
            process.terminate()
            process.wait()

        self.case.addCleanup(end)
        # The first port that the page names is the one for clients.
        front = int(next(iter(self.ports.values())))
        until(lambda: is_open(front))

    def _environment(self) -> Mapping[str, str]:
        home = str(self.folder)
        return {**os.environ, "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
