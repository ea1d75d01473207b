"""Messages between the processes of one load client: lines of JSON, and at the end what was measured."""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
from typing import Any


class Lost(Exception):
    """The process at the other end has gone."""


class Channel:
    """One end of a socket pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """Return the channel over a socket."""
        return cls(*await asyncio.open_connection(sock=end))

    def tell(self, **message: Any) -> None:
        """Send a message."""
        self._writer.write(json.dumps(message).encode() + b"\n")

    async def heard(self) -> dict[str, Any]:
        """Return the next message.

        Raises: Lost
        """
        try:
            line = await self._reader.readline()
        except ConnectionError as error:
            raise Lost from error
        if not line.endswith(b"\n"):
            raise Lost
        message: dict[str, Any] = json.loads(line)
        return message

    async def hand_over(self, value: object) -> None:
        """Send a value, and wait until it is on its way."""
        data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        self.tell(size=len(data))
        self._writer.write(data)
        await self._writer.drain()
        self._writer.close()
        await self._writer.wait_closed()

    async def received(self, size: int) -> Any:
        """Return a value that was handed over.

        Raises: Lost
        """
        try:
            return pickle.loads(await self._reader.readexactly(size))  # noqa: S301  (of our own fork)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Lost from error
