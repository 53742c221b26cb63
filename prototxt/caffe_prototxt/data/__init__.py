"""Labels and records where a net reads them. Imports `net` and `textformat`."""
