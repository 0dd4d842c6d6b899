"""What a process does of the jobs that are due."""

from __future__ import annotations

from regsys.jobs import JobRunner


async def run_due(runner: JobRunner) -> None:
    """Have a runner look once for jobs that are due, and wait for the end of those that it runs."""
    runner.start()
    await runner.stop()
