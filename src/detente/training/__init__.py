"""How a training runs, is recorded, stopped and resumed."""
