"""Vector fields: the direction that each player moves against."""
