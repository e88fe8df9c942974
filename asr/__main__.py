"""``python -m asr``: the command ``asr``, where its script is not on the path."""

from asr.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
