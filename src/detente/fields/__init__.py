"""Which way does each player want to move?"""
