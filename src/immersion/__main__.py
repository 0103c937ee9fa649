"""`python -m immersion` is the command `immersion`."""

from immersion.cli import main

if __name__ == "__main__":
    main()
