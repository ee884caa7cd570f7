"""Leave a host with everything, and prove it: composes connectors (hosts) and manifests (evidence)."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("portability-toolkit")
except PackageNotFoundError:  # run from an unpacked source tree
    __version__ = "0+unknown"
