"""Files: texts read, results written whole, recordings found. Needs Python's own library alone."""
