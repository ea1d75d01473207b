"""What a client of others says of a failed request, as one of our kinds."""

from __future__ import annotations

import re
from http import HTTPStatus

KINDS = (
    (r"timed? ?out|timeout", "timeout"),
    (
        r"ClientPayloadError|TransferEncodingError|ContentLengthError|IncompleteRead|ServerDisconnected|"
        r"RemoteProtocolError|peer closed connection|Connection reset|ConnectionReset|ReadError|"
        r"Response payload is not completed|Response ended prematurely|Connection broken|Broken pipe",
        "truncated",
    ),
    (r"Cannot connect|ConnectError|ConnectionRefused|Connect call failed|Connection refused", "connect"),
    (
        r"connection attempts failed|ClientConnector|Name or service not known|Network is unreachable",
        "connect",
    ),
    (r"Never received a valid chunk|No responses with actual content|no content", "no_content"),
    (r"JSONDecodeError|Expecting value|json", "bad_response"),
)
"""In this order: what a line of a traceback or of a library's own words holds, and our name for it."""

PHRASES = {status.phrase.lower(): status.value for status in HTTPStatus if status.value >= 300}
STATUS = re.compile(r"\b([345]\d\d)\b")


def failure_in(text: str) -> str:
    """Return the kind of failure that a message tells of; `other` if it tells none."""
    words = " ".join(text.split())
    phrase = PHRASES.get(words.lower())
    if phrase is not None:
        return f"http_{phrase}"
    for pattern, kind in KINDS:
        if re.search(pattern, words, re.IGNORECASE):
            return kind
    status = STATUS.search(words)
    return f"http_{status.group(1)}" if status else "other"
