"""The endpoint: one ASGI application that every service of AWS that we speak is behind.

It finds the service that a request is for, has the signature checked, the input decoded and the handler called, and
answers in the protocol of the service, errors included.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any
from uuid import uuid4

from batchyard.api import json_rpc, other_services, rest_json, sts
from batchyard.api.errors import ApiError
from batchyard.api.http import (
    ClientDisconnectedError,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    read_body,
    read_head,
    send_preflight,
    send_response,
)
from batchyard.api.instance_metadata import PREFIX, InstanceMetadata
from batchyard.api.service import RequestContext, Service
from batchyard.api.sigv4 import Authenticator, scope_service

DEFAULT_BODY_LIMIT = 1024 * 1024

log = logging.getLogger(__name__)

_ErrorAnswer = Callable[[ApiError, str], Response]


class Application:
    """The ASGI application. `body_limit` is the longest request body that is read, in bytes."""

    def __init__(
        self,
        services: Iterable[Service],
        authenticator: Authenticator,
        *,
        body_limit: int = DEFAULT_BODY_LIMIT,
        metadata: InstanceMetadata | None = None,
    ) -> None:
        services = tuple(services)
        self._metadata = metadata
        self._authenticator = authenticator
        self._body_limit = body_limit
        self._routes = rest_json.Routes(service for service in services if service.protocol == "rest-json")
        self._targets = json_rpc.Targets(service for service in services if service.protocol == "json-1.1")
        self._signing_names = {name for service in services for name in service.signing_names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _accept_lifespan(receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = str(uuid4())
        head = read_head(scope)
        if head.method == "OPTIONS":
            await send_preflight(head, request_id, send)
            return
        try:
            if self._metadata is not None and head.path.startswith(PREFIX):
                response = await self._metadata.answer(head, (scope.get("client") or (None,))[0])
            else:
                response = await self._answer(head, receive, request_id)
        except ClientDisconnectedError:
            return
        if isinstance(response.body, AsyncIterator):
            await _stream(response, response.body, request_id, receive, send)
        else:
            await send_response(response, request_id, send)

    async def _answer(self, head: Request, receive: Receive, request_id: str) -> Response:
        if head.path == "/healthz" and head.method in ("GET", "HEAD"):
            return Response(200, "application/json", b'{"status":"ok"}')
        if target := self._targets.find(head):
            calling = self._call_target(target, head, receive, request_id)
            return await _with_errors(calling, json_rpc.error_answer, json_rpc.INTERNAL_FAILURE, request_id)
        if route := self._routes.find(head):
            calling = self._call_route(route, head, receive, request_id)
            return await _with_errors(calling, rest_json.error_answer, rest_json.INTERNAL_FAILURE, request_id)
        return await _with_errors(
            self._call_other(head, receive, request_id), sts.error_answer, sts.INTERNAL_FAILURE, request_id
        )

    async def _call_route(self, route: rest_json.Route, head: Request, receive: Receive, request_id: str) -> Response:
        request = await read_body(head, receive, self._body_limit)
        caller = self._authenticator.authenticate(request, route.service.signing_names)
        handler = route.service.handlers.get(route.operation.name)
        if handler is None:
            raise rest_json.not_supported(route)
        decoded = rest_json.decode(route, request)
        return rest_json.answer(await handler(decoded, RequestContext(caller, request_id, len(request.body))))

    async def _call_target(self, target: json_rpc.Target, head: Request, receive: Receive, request_id: str) -> Response:
        request = await read_body(head, receive, self._body_limit)
        caller = self._authenticator.authenticate(request, target.service.signing_names)
        handler = target.service.handlers.get(target.operation_name)
        if target.operation is None or handler is None:
            raise json_rpc.not_supported(target.service, target.operation_name)
        decoded = json_rpc.decode(target.operation, request)
        return json_rpc.answer(await handler(decoded, RequestContext(caller, request_id, len(request.body))))

    async def _call_other(self, head: Request, receive: Receive, request_id: str) -> Response:
        """Anything but an operation of our services: sts, services that we don't speak, paths that don't exist."""
        service = scope_service(head)
        if service not in (None, *sts.SIGNING_NAMES, *self._signing_names) or "x-amz-target" in head.headers:
            return other_services.answer(head, service, request_id)
        if not sts.is_query_protocol(head):
            return rest_json.error_answer(rest_json.no_such_path(head), request_id)
        request = await read_body(head, receive, self._body_limit)
        caller = self._authenticator.authenticate(request, sts.SIGNING_NAMES, any_region=True)
        action = sts.action(request)
        if action != "GetCallerIdentity":
            raise sts.no_such_action(action)
        return sts.answer(caller, request_id)


async def _with_errors(
    calling: Coroutine[Any, Any, Response], error_answer: _ErrorAnswer, internal_failure: ApiError, request_id: str
) -> Response:
    """The response, or the error in the protocol of the service. What is not meant for callers goes to the log."""
    try:
        return await calling
    except ApiError as error:
        return error_answer(error, request_id)
    except ClientDisconnectedError:
        raise
    except Exception:
        log.exception("Request %s failed", request_id)
        return error_answer(internal_failure, request_id)


async def _stream(
    response: Response, chunks: AsyncIterator[bytes], request_id: str, receive: Receive, send: Send
) -> None:
    """Send a body while it is made, until it ends or the caller goes away; close it in any case.

    A failure in the middle ends the connection without the end of the body, so the caller sees that it is not whole.
    """
    sending = asyncio.ensure_future(send_response(response, request_id, send))
    leaving = asyncio.ensure_future(_until_disconnected(receive))
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
    except Exception:
        log.exception("The streamed answer to request %s broke off", request_id)
    finally:
        for task in (sending, leaving):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _accept_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
