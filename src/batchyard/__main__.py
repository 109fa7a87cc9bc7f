"""`python -m batchyard` is `batchyard`."""

from batchyard.cli.main import main

if __name__ == "__main__":
    main()
