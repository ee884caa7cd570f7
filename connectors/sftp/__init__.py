"""The SFTP host: any SSH server with the sftp subsystem."""

from connectors.errors import LocationError
from connectors.location import Location
from connectors.sftp import options
from connectors.sftp.connector import Sftp
from connectors.sftp.parts import SftpWithParts
from connectors.sftp.place import open_remote

__all__ = ["OPTIONS", "Sftp", "SftpWithParts", "connect"]

OPTIONS = options.OPTIONS


def connect(location: Location) -> Sftp:
    """The place, its channel open: what the server can do decides whether large objects go in parts."""
    options.check(location)
    if not location.host:
        raise LocationError("an sftp url names its server: sftp://user@host/path", host=location.url)
    remote = open_remote(location)
    return (SftpWithParts if remote.on_file_system else Sftp)(location, remote)
