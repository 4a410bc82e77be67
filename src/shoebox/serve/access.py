"""Who may ask: the name the server is called by, where a request comes from, and the token.

In: a request's method, path and headers. Out: nothing, or a `Problem`. What is not allowed is refused.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from shoebox.serve.problems import Problem
from shoebox.serve.settings import Settings

Headers = dict[str, list[str]]
"""Names in small letters → values, in order."""

OPEN = ("/healthz", "/readyz")
"""Paths that need no token: they say nothing of the classifier."""
SAFE = ("GET", "HEAD", "OPTIONS")
COOKIE = "shoebox"


def check_host(headers: Headers, settings: Settings) -> None:
    """Refuse a request that calls the server by a name that is not its own.

    Raises:
        Problem: 400, 421.
    """
    hosts = headers.get("host", [])
    if len(hosts) != 1 or not hosts[0]:
        raise Problem(400, "expected one Host header")
    if not settings.knows(_without_port(hosts[0].lower())):
        raise Problem(421, "this server is not known by that Host: call it by its own name, or start it with --name")


def check_origin(method: str, headers: Headers) -> None:
    """Refuse what a page from elsewhere lets a browser do.

    Raises:
        Problem: 403.
    """
    if method in SAFE:
        return
    host = headers["host"][0].lower()
    for origin in headers.get("origin", []):
        parts = urlsplit(origin.lower())
        if parts.scheme not in ("http", "https") or parts.netloc != host:
            raise Problem(403, "requests from pages of other sites are refused")
    if "cross-site" in headers.get("sec-fetch-site", []):
        raise Problem(403, "requests from pages of other sites are refused")


def check_token(path: str, headers: Headers, settings: Settings) -> None:
    """Refuse a request without the token, where there is one.

    Raises:
        Problem: 401.
    """
    if settings.token is None or path in OPEN:
        return
    shown = [value[7:].strip() for value in headers.get("authorization", []) if value[:7].lower() == "bearer "]
    shown += _cookies(headers)
    if not any(same(token, settings.token) for token in shown):
        raise Problem(
            401, "show the token: Authorization: Bearer TOKEN", headers={"WWW-Authenticate": 'Bearer realm="shoebox"'}
        )


def token_in_query(method: str, path: str, query: str) -> str | None:
    """The token in a link to the page, `/?token=…`, which is exchanged for a cookie."""
    if method != "GET" or path != "/" or "token=" not in query:
        return None
    return next(iter(parse_qs(query).get("token", [])), None)


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal; takes as long whether they differ early or late."""
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape"))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _cookies(headers: Headers) -> list[str]:
    found = []
    for value in headers.get("cookie", []):
        try:
            jar = SimpleCookie(value)
        except CookieError:
            continue
        if COOKIE in jar:
            found.append(jar[COOKIE].value)
    return found
