"""`python -m portability`: the same as the console script."""

import sys

from portability.cli import main

if __name__ == "__main__":
    sys.exit(main())
