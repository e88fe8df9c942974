"""What is known of calls: records, logs, metrics, traces."""
