"""The cgroup of this process in the hierarchy of one controller, with all its ancestors that can be seen.

Limits are inherited: a process may use no more than the tightest limit between its own cgroup and the root. A
controller belongs to one hierarchy at a time, either a version 1 hierarchy of its own (alone or combined, as
`cpu,cpuacct`) or the version 2 one; a *hybrid* host mounts both kinds.

Source:
    Linux, Documentation/admin-guide/cgroup-v1/cgroups.rst and cgroup-v2.rst; cgroup_namespaces(7); proc(5), mountinfo.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from hpi_agent.discovery.host_files import HostFiles, printable

MEMBERSHIP_FILE: Final = "/proc/self/cgroup"
MOUNT_FILE: Final = "/proc/self/mountinfo"
DEFAULT_MOUNT_POINT: Final = "/sys/fs/cgroup"
MAX_DEPTH: Final = 128
"""Deepest nesting of cgroups that is followed."""

_MEMBERSHIP: Final = re.compile(r"(?P<hierarchy>[0-9]+):(?P<controllers>[^:]*):(?P<path>/.*)")
_ESCAPED: Final = re.compile(r"\\(040|011|012|134|043)")


@dataclass(frozen=True)
class Membership:
    """One line of /proc/self/cgroup: where this process is in one hierarchy."""

    version: Literal[1, 2]
    controllers: tuple[str, ...]
    """Empty in the version 2 hierarchy, which has them all but those bound to version 1."""
    path: str
    """Relative to the root of this process' cgroup namespace: begins with `/`, may continue with `../`."""


@dataclass(frozen=True)
class Mount:
    """One cgroup file system in /proc/self/mountinfo."""

    version: Literal[1, 2]
    controllers: tuple[str, ...]
    """Empty for version 2."""
    root: str
    """The cgroup that is visible at the mount point, in the terms of `Membership.path`."""
    mount_point: str


@dataclass(frozen=True)
class Lineage:
    """The directories that hold the limits of this process for one controller."""

    version: Literal[1, 2]
    directories: tuple[str, ...]
    """This process' own cgroup first, the mount root last; paths below the host root."""


@dataclass(frozen=True)
class ControlGroups:
    """Where this process is in every cgroup hierarchy, and where those are mounted."""

    memberships: tuple[Membership, ...]
    mounts: tuple[Mount, ...] | None
    """None when the list of mounts could not be read: the customary places are assumed then."""


def read_control_groups(files: HostFiles) -> ControlGroups:
    """Return the cgroups and cgroup mounts of this process; what is missing is noted.

    Raises:
        Refused: One of the two files holds something else.
    """
    membership_text, mount_text = files.read(MEMBERSHIP_FILE), files.read(MOUNT_FILE)
    if membership_text is None:
        files.note(f"{files.shown(MEMBERSHIP_FILE)} is missing or unreadable: limits set by cgroups are not known")
    elif mount_text is None:
        files.note(
            f"{files.shown(MOUNT_FILE)} is missing or unreadable: cgroups are looked for below {DEFAULT_MOUNT_POINT}"
        )
    memberships = tuple(_membership(files, line) for line in _lines(membership_text or ""))
    mounts = None if mount_text is None else tuple(_mounts(files, mount_text))
    return ControlGroups(memberships, mounts)


def find_lineage(files: HostFiles, groups: ControlGroups, controller: str) -> Lineage | None:
    """Return the directories of this process' cgroup for a controller, or None when it has none (which is noted).

    Raises:
        Refused: The cgroups are nested deeper than `MAX_DEPTH`, or a link leads out of the host root.
    """
    membership = _membership_of(groups.memberships, controller)
    if membership is None:
        return None
    mounts = _default_mounts(files, membership, controller) if groups.mounts is None else groups.mounts
    mount = _choose_mount(mounts, membership, controller)
    if mount is None:
        files.note(f"no cgroup file system with the {controller} controller is mounted: its limits are not known")
        return None
    below = _path_below(membership.path, mount.root)
    own = mount.mount_point + (below or "")
    if below is None or not files.has_directory(own):
        files.note(
            f"this process is in cgroup {printable(membership.path)}, which is not visible below "
            f"{files.shown(mount.mount_point)}: {controller} limits are those of the cgroup mounted there"
        )
        below = ""
    return Lineage(membership.version, _ancestry(files, mount.mount_point, below))


def _lines(text: str) -> list[str]:
    # Not splitlines: it would also split at separators that the name of a cgroup may hold.
    return text.removesuffix("\n").split("\n") if text else []


def _membership(files: HostFiles, line: str) -> Membership:
    match = _MEMBERSHIP.fullmatch(line)
    if match is None:
        raise files.malformed(MEMBERSHIP_FILE, line, "lines such as 0::/path or 4:cpu,cpuacct:/path")
    if match["hierarchy"] == "0":
        return Membership(2, (), match["path"])
    return Membership(1, tuple(match["controllers"].split(",")), match["path"])


def _membership_of(memberships: tuple[Membership, ...], controller: str) -> Membership | None:
    bound = [membership for membership in memberships if controller in membership.controllers]
    unified = [membership for membership in memberships if membership.version == 2]
    return next(iter(bound + unified), None)


def _mounts(files: HostFiles, text: str) -> list[Mount]:
    mounts = []
    for line in _lines(text):
        left, separator, right = line.partition(" - ")
        if not separator:
            raise files.malformed(MOUNT_FILE, line, "lines of mountinfo fields with ' - ' before the file system type")
        if not right.startswith("cgroup"):
            continue
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) < 6 or len(kind) < 3 or not fields[3].startswith("/") or not fields[4].startswith("/"):
            raise files.malformed(MOUNT_FILE, line, "a cgroup mount with root, mount point and options")
        place = (_unescaped(fields[3]), _unescaped(fields[4]).rstrip("/"))
        mounts.append(Mount(2, (), *place) if kind[0] == "cgroup2" else Mount(1, tuple(kind[2].split(",")), *place))
    return _seen_from_root(files, mounts)


def _seen_from_root(files: HostFiles, mounts: list[Mount]) -> list[Mount]:
    """Prefer the mounts of a host that is itself mounted at the host root, under the names they have there."""
    root = str(files.root).rstrip("/")
    inside = [mount for mount in mounts if root and mount.mount_point.startswith(root + "/")]
    return [Mount(m.version, m.controllers, m.root, m.mount_point[len(root) :]) for m in inside] or mounts


def _default_mounts(files: HostFiles, membership: Membership, controller: str) -> tuple[Mount, ...]:
    names = ("unified", "") if membership.version == 2 else (controller, ",".join(membership.controllers))
    points = [f"{DEFAULT_MOUNT_POINT}/{name}".rstrip("/") for name in names]
    return tuple(
        Mount(membership.version, membership.controllers, "/", point) for point in points if files.has_directory(point)
    )[:1]


def _choose_mount(mounts: tuple[Mount, ...], membership: Membership, controller: str) -> Mount | None:
    fitting = [
        mount
        for mount in mounts
        if mount.version == membership.version and (mount.version == 2 or controller in mount.controllers)
    ]
    # One hierarchy may be mounted several times; the mount that shows most of this process' ancestors says most.
    return min(
        fitting,
        key=lambda mount: (_path_below(membership.path, mount.root) is None, len(mount.root)),
        default=None,
    )


def _path_below(path: str, root: str) -> str | None:
    """Return the part of a cgroup path below a mount's root ("" for the root itself), or None when it is elsewhere."""
    if path == root:
        return ""
    parent = root.rstrip("/") + "/"
    below = "/" + path[len(parent) :]
    return below if path.startswith(parent) and ".." not in below.split("/") else None


def _ancestry(files: HostFiles, mount_point: str, below: str) -> tuple[str, ...]:
    parts = [part for part in below.split("/") if part]
    if len(parts) > MAX_DEPTH:
        raise files.malformed(MEMBERSHIP_FILE, below, f"cgroups nested at most {MAX_DEPTH} deep")
    return tuple("/".join([mount_point, *parts[:depth]]) for depth in range(len(parts), -1, -1))


def _unescaped(field: str) -> str:
    """Return a mountinfo field with the octal escapes of space, tab, newline, backslash and number sign undone."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), field)
