"""`python -m einsplit`."""

from einsplit.cli import main

if __name__ == "__main__":
    main()
