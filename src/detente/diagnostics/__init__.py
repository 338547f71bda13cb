"""How stable is the game?"""
