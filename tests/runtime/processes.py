"""What processes there are, and which addresses they listen on, read from /proc."""

import ipaddress
import os
import struct
from contextlib import suppress
from pathlib import Path

LISTEN = "0A"


def descendants(pid: int) -> set[int]:
    """Children of a process, their children, and so on."""
    parents = {int(entry.name): parent_and_status(int(entry.name))[0] for entry in Path("/proc").glob("[0-9]*")}
    found, last = set[int](), {pid}
    while last:
        last = {child for child, parent in parents.items() if parent in last}
        found |= last
    return found


def running(pid: int) -> bool:
    """Whether a process exists and is not just waiting to be reaped."""
    return parent_and_status(pid)[1] not in "ZX"


def parent_and_status(pid: int) -> tuple[int, str]:
    try:
        fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0, "X"
    return int(fields[1]), fields[0]


def listening(pid: int | None = None) -> set[str]:
    """Addresses of a process's listening TCP sockets, IPv4 written plainly."""
    inodes = set()
    # A handle may be closed, and its process may end, while we look.
    with suppress(FileNotFoundError):
        for handle in Path("/proc", str(pid or os.getpid()), "fd").iterdir():
            with suppress(FileNotFoundError):
                inodes.add(os.readlink(handle).removeprefix("socket:[").removesuffix("]"))
    addresses = set()
    for table in ("tcp", "tcp6"):
        for row in Path("/proc/net", table).read_text().splitlines()[1:]:
            columns = row.split()
            if columns[3] == LISTEN and columns[9] in inodes:
                addresses.add(plain(columns[1].split(":")[0]))
    return addresses


def plain(words: str) -> str:
    """An address from its hexadecimal 32-bit words in this machine's byte order."""
    packed = b"".join(struct.pack("=I", int(words[k : k + 8], 16)) for k in range(0, len(words), 8))
    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
