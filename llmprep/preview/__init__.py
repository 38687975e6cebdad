"""Values -> what a person sees. Prints nothing.

plain.py    text made safe, and the lines for a pipe: no rich
screen.py   the same values as rich renderables, for a terminal
explain.py  what a max_length and a stride do to a text, as lines and a drawing
"""
