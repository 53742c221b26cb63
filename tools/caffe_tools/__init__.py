"""Parts that the commands share: the command line, the report page and its pictures. Nothing imports this but commands and examples."""
