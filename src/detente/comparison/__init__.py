"""One game under several methods, at equal cost: budgets, learning rates, runs side by side, and their page."""
