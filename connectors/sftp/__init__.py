"""The SFTP host: any SSH server with the sftp subsystem."""

from connectors.errors import LocationError
from connectors.location import Location
from connectors.sftp.connector import OPTIONS, Sftp, open_remote, positive
from connectors.sftp.parts import SftpWithParts
from connectors.sftp.session import seconds

__all__ = ["OPTIONS", "Sftp", "SftpWithParts", "connect"]


def connect(location: Location) -> Sftp:
    """The place, its channel open: what the server can do decides whether large objects go in parts."""
    location.check_options(OPTIONS)
    if not location.host:
        raise LocationError("an sftp url names its server: sftp://user@host/path", host=location.url)
    positive(location, "connections", 1)
    seconds(location)
    remote = open_remote(location)
    return (SftpWithParts if remote.on_file_system else Sftp)(location, remote)
