"""`python -m aet` is the command `aet`."""

from aet.cli import main

if __name__ == "__main__":
    main()
