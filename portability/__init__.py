"""Leave a host with everything, and prove it: composes connectors (hosts) and manifests (evidence)."""


def __getattr__(name: str) -> str:
    # Looked up when it is asked for: reading what is installed takes longer than many a command.
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("portability-toolkit")
    except PackageNotFoundError:  # run from an unpacked source tree
        return "0+unknown"
