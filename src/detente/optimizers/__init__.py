"""How far does a player move?"""
