"""The command line, the report page and its pictures. Only commands and examples import this."""
