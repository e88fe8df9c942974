"""The ``asr-client`` command. It imports grpc after it has silenced it."""
