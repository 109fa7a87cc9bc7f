"""What the handlers share: asking the control loop and the store, pages and their tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from batchyard.api.errors import ApiError, client_exception, validation_failure
from batchyard.api.job_reader import JobReader
from batchyard.api.tokens import InvalidTokenError, TokenSealer
from batchyard.control import ControlLoop, Unavailable
from batchyard.kernel import commands
from batchyard.kernel.identifiers import Account
from batchyard.kernel.kernel import Kernel
from batchyard.kernel.refusal import Refusal
from batchyard.store.store import Store

T = TypeVar("T")

MAXIMUM_PAGE = 100


class Desk:
    """The way from a handler to the rest of the server."""

    def __init__(self, control: ControlLoop, store: Store, account: Account, tokens: TokenSealer) -> None:
        self._control = control
        self._tokens = tokens
        self.account = account
        self.reader = JobReader(control, store)

    async def carry_out(self, command: commands.Command) -> Any:
        """The answer of a command, once it is durable. Raises `ApiError`."""
        return await answered(self._control.command(command))

    async def ask(self, question: Callable[[Kernel], T]) -> T:
        """An answer from the kernel's state. Raises `ApiError`."""
        return await answered(self._control.query(question))

    async def queue_name(self, name_or_arn: str) -> str:
        """The name of a job queue that exists. Raises `ApiError`."""

        def find(kernel: Kernel) -> str | None:
            name = self.account.name_of("job-queue", name_or_arn)
            return name if name in kernel.state.queues else None

        name = await self.ask(find)
        if name is None:
            raise validation_failure(f"JobQueue {name_or_arn} not found.")
        return name

    def seal(self, listing: str, position: Any) -> str:
        """A token for the page of a listing that follows this position."""
        return self._tokens.seal(listing, position)

    def position(self, listing: str, token: str | None) -> Any:
        """What a page token of this listing holds; None for no token (an empty one counts as none). Raises `ApiError`."""
        try:
            return self._tokens.open(listing, token) if token else None
        except InvalidTokenError:
            raise validation_failure("nextToken is not valid") from None

    def page_of(
        self, kind: str, details: dict[str, T], named: list[str] | None, max_results: int | None, token: str | None
    ) -> tuple[list[T], str | None]:
        """The resources named (unknown ones are left out), or a page of all of them by name."""
        if named:
            if len(named) > MAXIMUM_PAGE:
                raise validation_failure(f"At most {MAXIMUM_PAGE} names can be given, got {len(named)}")
            names = dict.fromkeys(self.account.name_of(kind, text) or "" for text in named)
            return [details[name] for name in names if name in details], None
        limit = page_size(max_results)
        after: str = self.position(kind, token) or ""
        names_left = sorted(name for name in details if name > after)
        page = names_left[:limit]
        following = self.seal(kind, page[-1]) if len(names_left) > limit else None
        return [details[name] for name in page], following


async def answered(asked: Awaitable[T]) -> T:
    """The answer of the control loop, its refusals as the errors that AWS gives."""
    try:
        return await asked
    except Refusal as refusal:
        raise (validation_failure if refusal.wrapped else client_exception)(refusal.message) from None
    except Unavailable as error:
        raise ApiError("ServerException", str(error), 503) from None


def page_size(max_results: int | None, most: int = MAXIMUM_PAGE) -> int:
    """The length of a page: `maxResults` where it is given, at most (and by default) `most`."""
    if not max_results:
        return most
    if max_results < 0:
        raise validation_failure(f"maxResults must be between 1 and {most}, got {max_results}")
    return min(max_results, most)
