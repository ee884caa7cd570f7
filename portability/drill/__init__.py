"""Exit drills: the whole way out rehearsed with the engine's own flow, timed, scored, compared with the last one, remembered."""
