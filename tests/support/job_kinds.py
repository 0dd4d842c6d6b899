"""A kind of job of the tests' own, in a subsystem that is wired as ever."""

from __future__ import annotations

from typing import Any

import attr

from regsys.jobs import Handler
from regsys.wiring import foundation, jobs


def plan_also(case: Any, planner: Any, kind: str, handler: Handler) -> None:
    """Subsystems over our own accounts that are made from now on ask ``planner`` after all others,
    and run ``kind`` by ``handler``."""
    handlers, registration_jobs = jobs.handlers, jobs.registration_jobs

    def with_planner(*args: Any) -> Any:
        planned = registration_jobs(*args)
        others = planned.planners
        return attr.evolve(
            planned, planners=attr.evolve(others, for_people=(*others.for_people, planner))
        )

    case.patch(jobs, "handlers", lambda *args: {**handlers(*args), kind: handler})
    case.patch(foundation, "registration_jobs", with_planner)
