"""Asking servers: mirrors, time-outs, and which failures are worth another attempt."""

import contextlib
import email.utils
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import requests
import tenacity
import urllib3

from genebert import __version__
from genebert.config import Downloads
from genebert.errors import GenebertError

T = TypeVar("T")
# Seconds: the pause after the first failure, doubled after each; and the longest, whoever asks for it.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
_MOST_SHOWN = 200
_BUSY = {408, 425, 429, 500, 502, 503, 504}


class PassingError(Exception):
    """A failure that the next attempt may not meet.

    ``pause`` is what the server asked for, in seconds.
    """

    def __init__(self, what: str, pause: float = 0.0) -> None:
        super().__init__(what)
        self.pause = pause


def retried(action: Callable[[], T], name: str, attempts: int) -> T:
    """Return what the action returns; after a `PassingError`, pause, ever longer, and call it again.

    Raises
    ------
    GenebertError
        When the last attempt has failed too.
    """

    def say(state: tenacity.RetryCallState) -> None:
        assert state.outcome is not None and state.next_action is not None
        print(
            f"{name}: {state.outcome.exception()}; "
            f"attempt {state.attempt_number + 1} of {attempts} in {state.next_action.sleep:.1f} s",
            file=sys.stderr,
            flush=True,
        )

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(PassingError),
        wait=_pause,
        stop=tenacity.stop_after_attempt(attempts),
        before_sleep=say,
        reraise=True,
    )
    try:
        return retrying(action)
    except PassingError as error:
        raise GenebertError(
            f"{name} could not be fetched: {error} ({attempts} attempts)",
            "run again later, or name another address in downloads.mirrors",
        ) from None


def _pause(state: tenacity.RetryCallState) -> float:
    assert state.outcome is not None
    error = state.outcome.exception()
    asked = min(error.pause, LONGEST_PAUSE) if isinstance(error, PassingError) else 0.0
    # Jitter, so that jobs that a server turned away together do not come back together.
    growing = FIRST_PAUSE * (2 ** (state.attempt_number - 1) + random.random())
    return max(asked, min(growing, LONGEST_PAUSE))


def mirrored(url: str, mirrors: Mapping[str, str]) -> str:
    """Return the address to ask instead of ``url``: the longest prefix in ``mirrors`` decides."""
    prefix = max((known for known in mirrors if url.startswith(known)), key=len, default=None)
    return url if prefix is None else mirrors[prefix] + url.removeprefix(prefix)


def name_of(url: str, mirrors: Mapping[str, str]) -> str:
    """Return how messages name ``url``: as the user did, the mirror's address in brackets, both cut."""
    address = mirrored(url, mirrors)
    shown, shown_address = (
        text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…" for text in (url, address)
    )
    return shown if address == url else f"{shown} [{shown_address}]"


@contextlib.contextmanager
def answer_to(
    url: str, headers: Mapping[str, str], accepted: Sequence[int], settings: Downloads
) -> Iterator[requests.Response]:
    """GET ``url`` and yield the answer, its body not read yet; redirects and proxies are followed.

    Parameters
    ----------
    url
        As the user names it; a mirror may answer.
    headers
        Of the request.
    accepted
        Status codes that are answers; all others raise.
    settings
        Mirrors and time-out.

    Raises
    ------
    PassingError
        If the server is busy, out of reach, or the body breaks off while the caller reads it.
    GenebertError
        If asking again would not help.
    """
    name = name_of(url, settings.mirrors)
    try:
        with (
            requests.Session() as session,
            session.get(
                mirrored(url, settings.mirrors),
                headers={"User-Agent": f"genebert/{__version__}", **headers},
                stream=True,
                timeout=(settings.timeout, settings.timeout),
            ) as answer,
        ):
            if answer.status_code in _BUSY:
                raise PassingError(_status(answer), _asked_pause(answer))
            if answer.status_code not in accepted:
                raise GenebertError(
                    f"{name} answers {_status(answer)}",
                    "correct the address, or name another one in downloads.mirrors",
                )
            yield answer
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise PassingError(f"nothing came for {settings.timeout:g} s") from None
    except (
        requests.ConnectionError,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        urllib3.exceptions.HTTPError,
    ) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise GenebertError(
                f"the certificate of {name} is not trusted",
                "set REQUESTS_CA_BUNDLE to the certificates of your institution's proxy",
            ) from None
        what = "proxy" if isinstance(error, requests.exceptions.ProxyError) else "connection"
        raise PassingError(f"the {what} failed ({_innermost(error)})") from None
    except requests.RequestException as error:
        raise GenebertError(
            f"{name} cannot be asked for: {error}", "correct the address or the proxy's"
        ) from None


def _status(answer: requests.Response) -> str:
    return f"{answer.status_code} {answer.reason or ''}".strip()


def _asked_pause(answer: requests.Response) -> float:
    """Return the seconds that Retry-After names, as a number or as a date; 0 without one."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return 0.0


def _innermost(error: BaseException) -> str:
    """Return the reason below the wrappers of requests and urllib3, without addresses of objects."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[-1] if error.args else None)
        if not isinstance(inner, BaseException):
            return str(error).split("object at 0x")[0].rpartition(": ")[2] or type(error).__name__
        error = inner


def ask(url: str, settings: Downloads) -> tuple[int, Any]:
    """Return the status (200 or 404) and the JSON that a service answers.

    Raises
    ------
    GenebertError
        If it does not answer with JSON, however often it is asked.
    """

    def once() -> tuple[int, Any]:
        with answer_to(url, {"Accept": "application/json"}, (200, 404), settings) as answer:
            # Not `content`, which disguises time-outs as broken connections.
            body = answer.raw.read(decode_content=True)
            try:
                return answer.status_code, json.loads(body)
            except ValueError:
                if answer.status_code == 404:
                    raise GenebertError(
                        f"{name} answers {_status(answer)}", "correct the address of the service"
                    ) from None
                raise PassingError(
                    "the answer is no JSON; the service may be under maintenance"
                ) from None

    name = name_of(url, settings.mirrors)
    return retried(once, name, settings.attempts)
