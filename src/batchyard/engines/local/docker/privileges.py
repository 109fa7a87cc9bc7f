"""What becomes of `privileged: true`, which some clients put into every job definition.

A host may be unable to give it: where it lacks a capability itself (in a container or a hardened virtual machine, often
CAP_SYS_RESOURCE), the daemon refuses to start any privileged container, while one with all but that capability, no
seccomp filter and all devices does what such jobs want.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

PrivilegedPolicy = Literal["honour", "reduce", "ignore", "refuse"]
"""honour: privileged or not at all. reduce: privileged, or all that the host can give. ignore: as any other container.
refuse: the job fails."""

# In the order of their numbers: linux/capability.h.
_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)


def cannot_be_privileged(error: str) -> bool:
    """Whether a container failed to start because the host lacks a capability that it was to get (runc's words)."""
    return "unable to apply caps" in error


def missing_capabilities(process_status: str | None = None) -> tuple[str, ...]:
    """The capabilities that nothing on this host can have: those outside the bounding set of this process.

    `process_status` is the text of `/proc/self/status`, for tests. When this process lacks none (the daemon, then, lives
    in another place), the one that is most often withheld is assumed.
    """
    status = Path("/proc/self/status").read_text() if process_status is None else process_status
    bounding = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd:")), 0)
    missing = tuple(name for number, name in enumerate(_CAPABILITIES.split()) if not bounding >> number & 1)
    return missing or ("SYS_RESOURCE",)
