"""A net as its text has it: layers, states, graph, losses and data layers. Imports only `textformat`."""
