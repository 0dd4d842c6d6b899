"""The benchmarks run, and print their tables."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from benchmarks.measuring import Cost, Round
from tests.support import postgres
from tests.support.service_process import ROOT


class BenchmarkTests(SynchronousTestCase):
    def test_quick(self) -> None:
        """--quick measures an operation beside hello and the floors, on each available database."""
        if sys.platform != "linux":
            raise SkipTest("The CPU time of another process is only read on Linux.")
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--quick", "availability"],
            cwd=ROOT,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"one bcrypt hash, 4 rounds +\d+\.\d+")
        self.assertRegex(done.stdout, r"account transaction, SQLite +\d+\.\d+")
        row = r"availability +SQLite +\d+\.\d+ +– +\d+\.\d+ \(\d+\.\d+–\d+\.\d+\) +4"
        self.assertRegex(done.stdout, row)
        self.assertFalse(re.search("one-shot", done.stdout))


class CostTests(SynchronousTestCase):
    def test_ratios(self) -> None:
        """An operation's cost is given in the hellos of its own round, by the median."""
        cost = Cost([Round(1.0, 4.0), Round(2.0, 6.0, 1.0), Round(1.0, 9.0, 3.0)])
        self.assertEqual((cost.ratio, cost.ratios), (4.0, [3.0, 4.0, 9.0]))
        self.assertEqual((cost.server_ms, cost.database_ms), (6.0, 2.0))


class AdoptionTests(SynchronousTestCase):
    def test_quick(self) -> None:
        """A tenth of 100,000 users is adopted in a tenth of a minute of CPU time, in little memory,
        on each available database."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.adoption", "--quick"],
            cwd=ROOT,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=300,
        )
        # The time that passes is that of a machine which others use: it is printed, not judged.
        self.assertIn(done.returncode, (0, 1), done.stderr)
        rows = re.findall(r"^(\w+) +([\d.]+) +([\d.]+) +(\d+) +[\d.]+$", done.stdout, re.MULTILINE)
        self.assertIn("SQLite", [row[0] for row in rows])
        for database, _, cpu_s, memory_mb in rows:
            self.assertLess(float(cpu_s), 6, database)
            self.assertLess(float(memory_mb), 200, database)


class ProcessesTests(SynchronousTestCase):
    def test_quick(self) -> None:
        """--quick compares two processes with one, and hashes for real."""
        if sys.platform != "linux":
            raise SkipTest("The CPU time of another process is only read on Linux.")
        with postgres.needed_by(self):
            postgres.shared()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.processes", "--quick"],
            cwd=ROOT,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"two over one: \d\.\d\d\n")
        self.assertRegex(done.stdout, r"of the CPU time \d+\.\d% is hashing")


class WorkersTests(SynchronousTestCase):
    def test_quick(self) -> None:
        """--quick compares a registration through a worker with one at the master."""
        if sys.platform != "linux":
            raise SkipTest("The CPU time of another process is only read on Linux.")
        with postgres.needed_by(self):
            postgres.shared()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--quick", "--workers"],
            cwd=ROOT,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"through a worker +\d+\.\d+ +\d\.\d+ ")
