"""In what order are fields evaluated and moves made?"""
