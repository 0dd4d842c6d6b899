"""The failed stages of a UIA session, as JSON: for each stage how often it has failed, and how it
did so last. For the operator who helps (``regsys signups``)."""

from __future__ import annotations

import json
from typing import Mapping, Optional

import attr

from regsys.model.signups import Failures
from regsys.model.uia import StageFailure

# Characters of a reason: an embedder's stages may say more.
_MOST = 300


def added(text: Optional[str], failure: Optional[StageFailure]) -> Optional[str]:
    """The JSON with one more failure; unchanged if that is None."""
    if failure is None:
        return text
    stages = {} if text is None else json.loads(text)
    before = stages.get(failure.stage, {})
    count = before.get("count", 0) + 1
    sid = failure.sid or before.get("sid")
    last = {**attr.asdict(failure), "text": failure.text[:_MOST], "sid": sid, "count": count}
    return json.dumps({**stages, last.pop("stage"): last})


def parsed(text: Optional[str]) -> Mapping[str, Failures]:
    """By stage."""
    stages = {} if text is None else json.loads(text)
    return {
        stage: Failures(count=item.pop("count"), last=StageFailure(stage=stage, **item))
        for stage, item in stages.items()
    }
