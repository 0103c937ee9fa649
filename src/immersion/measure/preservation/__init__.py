"""How well a map keeps neighbours, ranks and distances: exact ranks in blocks of rows."""
