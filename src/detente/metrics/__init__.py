"""How good are the samples?"""
