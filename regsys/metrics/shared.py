"""Metrics of several processes in one: each publishes what it has counted in memory that all share,
and whichever is asked answers with the sum."""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from typing import Iterable, Iterator, Mapping, Optional, Sequence

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from twisted.logger import Logger

from regsys.metrics import HELD_BY_PROCESS

# How often a process publishes what it has counted.
PUBLISH_S = 1.0
# Bytes for one process's numbers: some ten times what they need.
HALF = 1 << 18

log = Logger()

_HEAD = struct.Struct("<II")
_FIRST = 8
# Metric, sample, and labels in the order of the exposition.
_Key = tuple[str, str, tuple[tuple[str, str], ...]]
_Numbers = dict[_Key, float]


class Slot:
    """Memory for the latest message of one process, which others may read at any time. Whoever dies
    while writing leaves the message before."""

    def __init__(self) -> None:
        # Shared with all processes that are forked from now on.
        self._memory = mmap.mmap(-1, _FIRST + 2 * HALF)

    def write(self, data: bytes) -> None:
        """ValueError if it is too long."""
        if len(data) > HALF - _HEAD.size:
            raise ValueError(f"{len(data)} bytes are too many for one process's metrics")
        half = 1 - self._memory[0] % 2
        place = _FIRST + half * HALF
        _HEAD.pack_into(self._memory, place, len(data), zlib.crc32(data))
        self._memory[place + _HEAD.size : place + _HEAD.size + len(data)] = data
        # One byte, and so at once: 2 or 3, for the half that holds the message.
        self._memory[0] = 2 + half

    def read(self) -> Optional[bytes]:
        """None before the first message."""
        while self._memory[0]:
            place = _FIRST + self._memory[0] % 2 * HALF
            length, checksum = _HEAD.unpack_from(self._memory, place)
            data = self._memory[place + _HEAD.size : place + _HEAD.size + length]
            # It may have been written again meanwhile.
            if zlib.crc32(data) == checksum:
                return data
        return None


class SharedMetrics(Collector):
    """The sum of the metrics of all processes, as the process ``number`` (from 0) shows it.

    Counters of a process that ended stay in the sum: its slot is its successor's. What a process
    shows it has published before, so no later answer of another one is less.
    """

    def __init__(self, own: CollectorRegistry, slots: Sequence[Slot], number: int) -> None:
        self._own = own
        self._slot = slots[number]
        self._others = [slot for slot in slots if slot is not self._slot]
        self._before = {
            key: value
            for key, value in _parse(self._slot.read()).items()
            if key[0] not in HELD_BY_PROCESS
        }

    def publish(self) -> None:
        """Let the other processes see this one's numbers."""
        self._publish(self._own.collect())

    def collect(self) -> Iterable[Metric]:
        families = list(self._own.collect())
        total = self._publish(families)
        for slot in self._others:
            total = _sum(total, _parse(slot.read()))
        for family in families:
            if _is_summed(family):
                yield _family(family, total)
            else:
                yield family

    def _publish(self, families: Iterable[Metric]) -> _Numbers:
        numbers = _sum(dict(_numbers(families)), self._before)
        try:
            self._slot.write(_text(numbers))
        except ValueError as error:
            log.error("metrics: {error}", error=error)
        return numbers


def _is_summed(family: Metric) -> bool:
    """Other gauges show what the database holds: each process knows the whole."""
    return family.type != "gauge" or family.name in HELD_BY_PROCESS


def _numbers(families: Iterable[Metric]) -> Iterator[tuple[_Key, float]]:
    for family in families:
        if _is_summed(family):
            for sample in family.samples:
                labels = tuple(sample.labels.items())
                yield (family.name, sample.name, labels), sample.value


def _sum(some: Mapping[_Key, float], others: Mapping[_Key, float]) -> _Numbers:
    total = dict(some)
    for key, value in others.items():
        if key not in total:
            total[key] = value
        elif key[1].endswith("_created"):
            total[key] = min(total[key], value)
        else:
            total[key] += value
    return total


def _family(family: Metric, total: Mapping[_Key, float]) -> Metric:
    """The same with these numbers."""
    made = Metric(family.name, family.documentation, family.type, family.unit)
    for (name, sample, labels), value in total.items():
        if name == family.name:
            made.add_sample(sample, dict(labels), value)
    return made


def _text(numbers: Mapping[_Key, float]) -> bytes:
    return json.dumps([[*key, value] for key, value in numbers.items()]).encode()


def _parse(text: Optional[bytes]) -> _Numbers:
    return {
        (name, sample, tuple((label, value) for label, value in labels)): number
        for name, sample, labels, number in json.loads(text or b"[]")
    }
