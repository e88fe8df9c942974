"""The ``asr`` command: a file a subcommand, and what they share."""
