"""How a conversation is begun: through the system's ssh program where that can log in alone, otherwise by paramiko."""

from __future__ import annotations

from connectors.errors import UnavailableError
from connectors.location import Location
from connectors.sftp import options, program
from connectors.sftp.wire import Wire

_refused: set[tuple[object, ...]] = set()
"""Places where the program did not work and paramiko did: it is not started again for every channel."""


def converse(location: Location) -> Wire:
    """An SFTP conversation with the location's server, its host key checked and we recognised."""
    wanted, place = options.transport(location), options.identity(location)
    said = ""
    if wanted == "ssh" or (wanted == "auto" and place not in _refused):
        found = program.begin(location)
        if isinstance(found, Wire):
            return found
        said = found
    from connectors.sftp import session  # here, because paramiko takes a while to load and is often not needed

    # Whatever stopped the program, paramiko works all the same, or says exactly what is wrong.
    channel = session.Channel(location)
    if wanted == "ssh":
        channel.close()
        raise UnavailableError(
            f"the ssh program cannot open this place ({said}); it can be opened without transport=ssh",
            host=location.url,
        )
    if said:
        _refused.add(place)
    try:
        return Wire(channel)
    except BaseException:
        channel.close()
        raise
