"""What stands between a socket and the service: port, TLS, tokens, parsing, the call log."""
