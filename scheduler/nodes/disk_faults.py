"""Why disks of hosts have no room, as the state database keeps it."""

import socket
from collections.abc import Collection

from scheduler.nodes.health import DISK_FAULT, disk_faults
from storage import key_values
from storage.database import Session


def faults_of(session: Session, hosts: Collection[str]) -> tuple[str, ...]:
    """Return what is known of disks that are nearly full, of these hosts and this one."""
    return disk_faults(key_values.beginning_with(session, DISK_FAULT), {*hosts, socket.gethostname()})
