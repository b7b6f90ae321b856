"""A row as read: what it trains, how it is scored, what it counts, and what makes two of them the same."""
