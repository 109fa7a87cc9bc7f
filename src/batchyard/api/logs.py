"""CloudWatch Logs, as far as users of AWS Batch lean on it: reading job logs, and the set-up and writing around it.

Rules and texts are those of the Amazon CloudWatch Logs API Reference. Where this service differs: what a job writes can
be read at once; `ingestionTime` is the event's own time; PutLogEvents gives an event that is older than the last one of
its stream that event's time; tags, keys and classes of log groups are accepted and not kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import json
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from batchyard.api.errors import ApiError
from batchyard.api.service import Handler, RequestContext, Result, Service
from batchyard.api.tokens import InvalidTokenError, TokenSealer
from batchyard.logs.patterns import UnsupportedPatternError, compile_pattern
from batchyard.logs.store import (
    EVENT_OVERHEAD,
    PAGE_BYTES,
    PAGE_EVENTS,
    Found,
    LogStore,
    NoSuchGroupError,
    NoSuchStreamError,
    Place,
    Stream,
    StreamTimes,
)
from batchyard.shapes import logs as shapes

JOB_LOG_GROUP = "/aws/batch/job"

_DESCRIBE_LIMIT = 50
_DAY = 86_400_000
_OLDEST_PUT = 14 * _DAY
_NEWEST_PUT = 2 * 3_600_000
_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)

_Input = TypeVar("_Input")
_Item = TypeVar("_Item")


def log_service(
    store: LogStore,
    region: str,
    account_id: str,
    sealer: TokenSealer,
    *,
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> Service:
    """The service over one log store, in which the job log group is made if need be. `sealer` makes the page tokens, `now`
    gives the time in milliseconds since the epoch."""
    store.create_group(JOB_LOG_GROUP)
    logs = _Logs(store, sealer, f"arn:aws:logs:{region}:{account_id}:log-group:", now)
    return Service(
        name="Amazon CloudWatch Logs",
        signing_names=("logs",),
        protocol="json-1.1",
        operations=shapes.OPERATIONS,
        handlers={
            "CreateLogGroup": _in_thread(logs.create_log_group),
            "CreateLogStream": _in_thread(logs.create_log_stream),
            "DeleteLogGroup": _in_thread(logs.delete_log_group),
            "DescribeLogGroups": _in_thread(logs.describe_log_groups),
            "DescribeLogStreams": _in_thread(logs.describe_log_streams),
            "FilterLogEvents": _in_thread(logs.filter_log_events),
            "GetLogEvents": _in_thread(logs.get_log_events),
            "PutLogEvents": _in_thread(logs.put_log_events),
            "PutRetentionPolicy": _in_thread(logs.put_retention_policy),
        },
        target_prefix="Logs_20140328",
    )


def _in_thread(operation: Callable[[_Input], Result]) -> Handler:
    """The store reads and writes files, which the event loop must not wait for."""

    def answer(request: Any) -> Result:
        try:
            return operation(request)
        except NoSuchGroupError:
            raise _not_found("The specified log group does not exist.") from None
        except (NoSuchStreamError, FileNotFoundError):
            raise _not_found("The specified log stream does not exist.") from None
        except InvalidTokenError:
            raise _invalid("The specified nextToken is invalid.") from None
        except UnsupportedPatternError as error:
            raise _invalid(f"Invalid filter pattern: {error}") from None
        except OSError as error:
            raise ApiError(
                "ServiceUnavailableException", f"The log files can't be used now: {error.strerror}.", 503
            ) from error

    async def handle(request: Any, _context: RequestContext) -> Result:
        return await asyncio.to_thread(answer, request)

    return handle


class _Logs:
    """The operations. Each raises what :func:`_in_thread` turns into AWS's errors."""

    def __init__(self, store: LogStore, sealer: TokenSealer, arn_prefix: str, now: Callable[[], int]) -> None:
        self._store = store
        self._sealer = sealer
        self._arn_prefix = arn_prefix
        self._now = now

    # --- groups ---

    def create_log_group(self, request: shapes.CreateLogGroupRequest) -> None:
        if not self._store.create_group(request.log_group_name):
            raise ApiError("ResourceAlreadyExistsException", "The specified log group already exists")

    def delete_log_group(self, request: shapes.DeleteLogGroupRequest) -> None:
        self._store.delete_group(request.log_group_name)

    def put_retention_policy(self, request: shapes.PutRetentionPolicyRequest) -> None:
        if request.retention_in_days not in _RETENTION_DAYS:
            raise _invalid(f"retentionInDays must be one of {', '.join(map(str, _RETENTION_DAYS))}.")
        self._store.set_retention(request.log_group_name, request.retention_in_days)

    def describe_log_groups(self, request: shapes.DescribeLogGroupsRequest) -> shapes.DescribeLogGroupsResponse:
        prefix, part = request.log_group_name_prefix, request.log_group_name_pattern
        if prefix and part:
            raise _invalid("You can specify either logGroupNamePrefix or logGroupNamePattern, but not both.")
        wanted = {self._group_name(identifier) for identifier in request.log_group_identifiers or ()}
        purpose = _purpose("DescribeLogGroups", prefix, part, sorted(wanted))
        behind = "" if request.next_token is None else str(self._sealer.open(purpose, request.next_token))
        names = [
            name
            for name in self._store.group_names()
            if name > behind
            and name.startswith(prefix or "")
            and (part or "").lower() in name.lower()
            and (not wanted or name in wanted)
            and request.log_group_class in (None, "STANDARD")
        ]
        page, more = _cut(names, request.limit)
        return shapes.DescribeLogGroupsResponse(
            log_groups=[group for name in page for group in self._log_group(name)],
            next_token=self._sealer.seal(purpose, page[-1]) if more else None,
        )

    def _log_group(self, name: str) -> list[shapes.LogGroup]:
        """As it is described; nothing when it has been deleted meanwhile."""
        try:
            group = self._store.group(name)
            stored_bytes = self._store.stored_bytes(name)
        except (NoSuchGroupError, FileNotFoundError):
            return []
        return [
            shapes.LogGroup(
                log_group_name=name,
                creation_time=group.creation_time,
                retention_in_days=group.retention_in_days,
                metric_filter_count=0,
                arn=f"{self._arn_prefix}{name}:*",
                stored_bytes=stored_bytes,
                log_group_class="STANDARD",
                log_group_arn=f"{self._arn_prefix}{name}",
            )
        ]

    # --- streams ---

    def create_log_stream(self, request: shapes.CreateLogStreamRequest) -> None:
        if not self._store.create_stream(request.log_group_name, request.log_stream_name):
            raise ApiError("ResourceAlreadyExistsException", "The specified log stream already exists")

    def describe_log_streams(self, request: shapes.DescribeLogStreamsRequest) -> shapes.DescribeLogStreamsResponse:
        group = self._one_group(request.log_group_name, request.log_group_identifier)
        by_time = request.order_by == "LastEventTime"
        prefix = request.log_stream_name_prefix or ""
        if by_time and prefix:
            raise _invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
        purpose = _purpose("DescribeLogStreams", group, prefix, by_time, bool(request.descending))
        behind: Any = None if request.next_token is None else self._sealer.open(purpose, request.next_token)

        keyed: list[tuple[list[Any], Stream]] = []
        for stream in self._store.streams(group, prefix):
            key: list[Any] = [stream.name]
            if by_time:
                if (times := self._store.times(stream)) is None:
                    continue
                key.insert(0, times.last_event or 0)
            if behind is None or (key < behind if request.descending else key > behind):
                keyed.append((key, stream))
        limit = request.limit or _DESCRIBE_LIMIT
        select = heapq.nlargest if request.descending else heapq.nsmallest
        page, more = _cut(select(limit + 1, keyed, key=lambda pair: pair[0]), limit)
        return shapes.DescribeLogStreamsResponse(
            log_streams=[
                self._log_stream(group, stream, times)
                for _, stream in page
                if (times := self._store.times(stream)) is not None
            ],
            next_token=self._sealer.seal(purpose, page[-1][0]) if more else None,
        )

    def _log_stream(self, group: str, stream: Stream, times: StreamTimes) -> shapes.LogStream:
        return shapes.LogStream(
            log_stream_name=stream.name,
            creation_time=times.creation_time,
            first_event_timestamp=times.first_event,
            last_event_timestamp=times.last_event,
            last_ingestion_time=times.last_event,
            upload_sequence_token=_SEQUENCE_TOKEN,
            arn=f"{self._arn_prefix}{group}:log-stream:{stream.name}",
            stored_bytes=0,
        )

    # --- events ---

    def get_log_events(self, request: shapes.GetLogEventsRequest) -> shapes.GetLogEventsResponse:
        group = self._one_group(request.log_group_name, request.log_group_identifier)
        stream = self._store.stream(group, request.log_stream_name)
        purpose = _purpose("GetLogEvents", group, stream.name)
        forward, position = request.start_from_head, None
        if request.next_token is not None:
            forward, position = self._open_position(purpose, request.next_token)

        start, end, limit = request.start_time or 0, request.end_time, request.limit or PAGE_EVENTS
        if forward:
            page = self._store.page_forward(stream, position or 0, start, end, limit)
        else:
            page = self._store.page_backward(stream, position, start, end, limit)
        before, after = page.before, page.after
        if not page.events and position is not None:  # The same token again says that there is nothing more.
            before = after = position
        return shapes.GetLogEventsResponse(
            events=[
                shapes.OutputLogEvent(
                    timestamp=event.timestamp,
                    message=event.message.decode("utf-8", "replace"),
                    ingestion_time=event.timestamp,
                )
                for event in page.events
            ],
            next_forward_token="f/" + self._sealer.seal(purpose + "f", after),
            next_backward_token="b/" + self._sealer.seal(purpose + "b", before),
        )

    def _open_position(self, purpose: str, token: str) -> tuple[bool, int]:
        """Whether a token of GetLogEvents leads forward, and from where. Raises InvalidTokenError."""
        direction, _, sealed = token.partition("/")
        position = self._sealer.open(purpose + direction, sealed)
        if not isinstance(position, int):
            raise InvalidTokenError(token)
        return direction == "f", position

    def filter_log_events(self, request: shapes.FilterLogEventsRequest) -> shapes.FilterLogEventsResponse:
        group = self._one_group(request.log_group_name, request.log_group_identifier)
        names, prefix = request.log_stream_names, request.log_stream_name_prefix
        if names and prefix:
            raise _invalid("You can specify either logStreamNames or logStreamNamePrefix, but not both.")
        matches = compile_pattern(request.filter_pattern or "")
        purpose = _purpose("FilterLogEvents", group)
        newest_first = request.start_from_head is False
        behind: Place | None = None
        if request.next_token is not None:
            sealed: Any = self._sealer.open(purpose, request.next_token)
            newest_first, behind = sealed[0], Place(*sealed[1:])
        streams: Iterable[Stream]
        if names:
            streams = [self._store.stream(group, name) for name in sorted(set(names))]
        else:
            streams = self._store.streams(group, prefix or "")

        found, place_reached = self._store.search(
            streams,
            matches=matches,
            start=request.start_time or 0,
            end=None if request.end_time is None else request.end_time + 1,  # Here, AWS counts the end in.
            limit=request.limit or PAGE_EVENTS,
            behind=behind,
            newest_first=newest_first,
        )
        next_token = None if place_reached is None else self._sealer.seal(purpose, [newest_first, *place_reached])
        return shapes.FilterLogEventsResponse(
            events=[_filtered_event(event) for event in found], searched_log_streams=[], next_token=next_token
        )

    def put_log_events(self, request: shapes.PutLogEventsRequest) -> shapes.PutLogEventsResponse:
        group, name = request.log_group_name, request.log_stream_name
        messages = [(event.timestamp, event.message.encode()) for event in request.log_events]
        self._store.stream(group, name)
        _check_batch(messages)
        now = self._now()
        retention = self._store.group(group).retention_in_days
        too_old = sum(at < now - _OLDEST_PUT for at, _ in messages)
        expired = 0 if retention is None else sum(at < now - retention * _DAY for at, _ in messages)
        too_new = sum(at > now + _NEWEST_PUT for at, _ in messages)
        accepted = messages[max(too_old, expired) : len(messages) - too_new]
        if accepted:
            self._store.append(group, name, accepted)
        rejected = None
        if too_old or expired or too_new:
            rejected = shapes.RejectedLogEventsInfo(
                too_old_log_event_end_index=too_old or None,
                expired_log_event_end_index=expired or None,
                too_new_log_event_start_index=len(messages) - too_new if too_new else None,
            )
        return shapes.PutLogEventsResponse(next_sequence_token=_SEQUENCE_TOKEN, rejected_log_events_info=rejected)

    # --- names ---

    def _one_group(self, name: str | None, identifier: str | None) -> str:
        """The group that a request names in one of two ways, and which exists."""
        if (name is None) == (identifier is None):
            raise _invalid("You must specify either logGroupName or logGroupIdentifier, but not both.")
        group = name if identifier is None else self._group_name(identifier)
        if group is None or not self._store.is_group(group):
            raise NoSuchGroupError
        return group

    def _group_name(self, identifier: str) -> str:
        """The name behind a name or an ARN. Groups elsewhere don't exist here."""
        if not identifier.startswith("arn:"):
            return identifier
        if not identifier.startswith(self._arn_prefix):
            raise NoSuchGroupError(identifier)
        return identifier.removeprefix(self._arn_prefix)


_SEQUENCE_TOKEN = "0" * 56
"""Any token will do: AWS has given up checking them, but older clients expect one."""


def _check_batch(messages: list[tuple[int, bytes]]) -> None:
    """The rules of PutLogEvents for a batch as a whole."""
    if not messages:
        raise _invalid("Log events in a single PutLogEvents request must be at least one.")
    size = sum(len(message) + EVENT_OVERHEAD for _, message in messages)
    if size > PAGE_BYTES:
        raise _invalid(f"Upload too large: {size} bytes exceeds limit of {PAGE_BYTES}")
    times = [at for at, _ in messages]
    if times != sorted(times):
        raise _invalid("Log events in a single PutLogEvents request must be in chronological order.")
    if times[-1] - times[0] > _DAY:
        raise _invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")


def _filtered_event(found: Found) -> shapes.FilteredLogEvent:
    """The id is 56 digits, as AWS's: time, stream and position, so the same event always has the same."""
    stream = int.from_bytes(hashlib.blake2b(found.stream.encode(), digest_size=8).digest(), "big")
    return shapes.FilteredLogEvent(
        log_stream_name=found.stream,
        timestamp=found.event.timestamp,
        message=found.text,
        ingestion_time=found.event.timestamp,
        event_id=f"{found.event.timestamp:020d}{stream:020d}{found.event.position:016d}",
    )


def _cut(items: list[_Item], limit: int | None) -> tuple[list[_Item], bool]:
    """A page of items, and whether there are more."""
    limit = limit or _DESCRIBE_LIMIT
    return items[:limit], len(items) > limit


def _purpose(*parts: object) -> str:
    return json.dumps(parts)


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterException", message)


def _not_found(message: str) -> ApiError:
    return ApiError("ResourceNotFoundException", message)
