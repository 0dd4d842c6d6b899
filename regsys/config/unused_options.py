"""Options without effect, and guesses at misspelt ones.

The options that have an effect need no list: the sections ask their Reader for them.
"""

from __future__ import annotations

import difflib
import re
from typing import Optional

from regsys.config.values import Reader

# A later version may use these.
LATER = frozenset(
    """
    dont_notify_new_devices_for
    email.invite_client_location email.riot_base_url
    enable_set_avatar_url
    listeners[].request_id_header listeners[].resources[].compress
    regsys.hold_names
    shadow_server
    user_directory worker_listeners worker_log_config worker_name worker_pid_file
    """.split()
)

# Options of the homeserver that look like ours.
FOREIGN = frozenset({"rc_user_directory", "worker_replication_host", "worker_replication_port"})
# All options of a rate limit.
_RATE = {"per_second", "burst_count"}
# Names there that differ by a number are different features, not typing errors.
_NUMBERED = "experimental_features"


def unread_options(reader: Reader) -> tuple[tuple[str, ...], list[str]]:
    """The dotted names of all options that have no effect, and a sentence for each of them that
    looks like a typing error."""
    unused: list[str] = []
    slips: list[str] = []
    for where, name in reader.unread():
        full = where.name_of(name)
        unused.append(full)
        guess = _nearest(where, str(name))
        if guess:
            slips.append(f"{full} is not an option: did you mean {where.name_of(guess)}?")
        elif where.asked == _RATE:
            slips.append(f"{full} is not an option: a rate has per_second and burst_count.")
        elif where.path == "regsys" and full not in LATER:
            slips.append(f"{full} is not an option of regsys.")
    return tuple(unused), slips


def _nearest(where: Reader, name: str) -> Optional[str]:
    """The option of the same mapping that was probably meant; None if none is similar."""
    full = re.sub(r"\[\d+\]", "[]", where.name_of(name))
    if full in LATER | FOREIGN or name in where.skipped or where.path == _NUMBERED:
        return None
    prefix = full[: len(full) - len(name)]
    later = {known[len(prefix) :] for known in LATER if known.startswith(prefix)}
    close = difflib.get_close_matches(name, sorted(where.asked | later), 1, 0.8)
    return close[0] if close else None
