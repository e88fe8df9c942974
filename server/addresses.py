"""Addresses: what a client may dial and where a server may listen, each checked in full.

gRPC itself takes port 443 where none is given, and of a port above 65535 the remainder.
"""

from __future__ import annotations

import ipaddress
import re

from server.limits import DEFAULT_PORT

__all__ = ["AddressError", "dialled", "is_loopback", "is_socket", "is_this_machine", "listening"]

SOCKETS = ("unix:", "unix-abstract:")  # of Unix: they reach this machine alone
RESOLVERS = ("dns", "ipv4", "ipv6")  # schemes of gRPC whose addresses are host:port
ENCRYPTED = ("https", "grpcs")

# [IPv6] or a host, and perhaps a port.
ADDRESS = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^\s:/@\[\]]*))(?::(?P<port>.*))?")


class AddressError(ValueError):
    """An address that cannot be used: what is wrong with it, and the remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} ({remedy})")
        self.what = what
        self.remedy = remedy


def dialled(address: str) -> str:
    """The target for gRPC of host, host:port, an IPv6 address with or without brackets, a Unix
    socket ``unix:PATH``, or a target of gRPC, ``dns:///host:port`` for one.

    Without a port it is that of asr-server.

    Raises:
        AddressError: it is none of them.
    """
    if is_socket(address):
        return _with_path(address)
    scheme, _, rest = address.partition(":")
    if scheme in RESOLVERS and _is_port(rest):  # a host of that name
        return f"dns:///{address}"
    if scheme in RESOLVERS:
        before, slash, hosts = rest.rpartition("/")
        return f"{scheme}:{before}{slash}" + ",".join(map(_with_port, hosts.split(",")))
    if "://" in address:
        host = rest.strip("/").partition("/")[0]
        tls = " and TLS" if scheme in ENCRYPTED else ""
        raise AddressError(f"{address!r} is a URL", f"give {host or 'host:port'}{tls} instead")
    return _with_port(address)


def listening(host: str) -> str:
    """``host`` without the brackets of IPv6; a name, an address, or a Unix socket.

    Raises:
        AddressError: it is none of them, or has a port.
    """
    if is_socket(host):
        return _with_path(host)
    found = ADDRESS.fullmatch(host)
    bare = found["v6"] if found and found["v6"] and found["port"] is None else host
    if _is_ip(bare):
        return bare
    if "://" in host:
        raise AddressError(
            f"{host!r} is a URL", "give a host, and the port by an option of its own"
        )
    if found and found["port"] is not None:
        alone = found["v6"] or found["host"] or "127.0.0.1"
        raise AddressError(
            f"{host!r} has a port in it",
            f"give {alone} alone, and the port by an option of its own",
        )
    if not re.fullmatch(r"[\w.-]+", host) or re.fullmatch(r"[0-9.]+", host):
        raise AddressError(
            f"{host!r} is no host",
            "give a name, an address like 127.0.0.1 or ::1, or a Unix socket like unix:PATH",
        )
    return host


def is_socket(address: str) -> bool:
    """Whether it is a Unix socket."""
    return address.startswith(SOCKETS)


def is_this_machine(address: str) -> bool:
    """Whether every address of the target lies on this machine."""
    if is_socket(address):
        return True
    scheme, _, rest = address.partition(":")
    if scheme in RESOLVERS:
        address = rest.rpartition("/")[2]
    return all(is_loopback(_host(part)) for part in address.split(","))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``, a name, an address or a Unix socket."""
    if is_socket(host):
        return True
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return bool(address.is_loopback)


def _with_path(socket: str) -> str:
    scheme, _, path = socket.partition(":")
    if not path.strip("/") or re.match("//[^/]", path):
        raise AddressError(f"{socket!r} names no socket", f"give {scheme}:PATH")
    return socket


def _with_port(address: str) -> str:
    if _is_ip(address) and ":" in address:
        return f"[{address}]:{DEFAULT_PORT}"
    found = ADDRESS.fullmatch(address)
    if not found or (found["v6"] is not None and not _is_ip(found["v6"])):
        raise AddressError(
            f"{address!r} is no address", f"give host:port, for one 127.0.0.1:{DEFAULT_PORT}"
        )
    host, port = found["host"] if found["v6"] is None else f"[{found['v6']}]", found["port"]
    if port is not None and not _is_port(port):
        raise AddressError(f"{address!r} has no port from 1 to 65535", "give host:port")
    if not host:
        remedy = f"give host:port, for one 127.0.0.1:{port or DEFAULT_PORT}"
        raise AddressError(f"{address!r} has no host", remedy)
    return f"{host}:{port or DEFAULT_PORT}"


def _host(address: str) -> str:
    """``localhost:1``, ``[::1]:1``, ``::1`` -> the part without port and brackets."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.count(":") > 1 else address.partition(":")[0]


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
