"""The local file system host: exact names, POSIX attributes, publishing without a race, never out of the root."""

from connectors.local.host import OPTIONS, Local, connect

__all__ = ["OPTIONS", "Local", "connect"]
