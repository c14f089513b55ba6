"""Answers that go on: no longer than whoever asked for them may ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Send


class WhileWelcome:
    """The sending end of an ASGI answer. A stream ends, as if all was said, before anything is told to somebody who is
    not `welcome` any more.
    """

    def __init__(self, send: Send, welcome: Callable[[], bool]) -> None:
        self._send = send
        self._welcome = welcome
        self._over = False

    async def send(self, message: Message) -> None:
        if self._over:
            return
        if message.get("more_body") and not self._welcome():
            self._over = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)
