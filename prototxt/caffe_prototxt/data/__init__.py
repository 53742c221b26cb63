"""Count labels and look at records where a net reads them. Imports `net` and `textformat`."""
