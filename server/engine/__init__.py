"""What the calls share: models, batches, places, threads that search."""
