"""Values -> what a person sees. Nothing here prints.

plain.py    text made safe to show, numbers in words, and the lines that a pipe gets
screen.py   the same values as rich renderables, for a terminal
explain.py  what max_length and stride do to a text, as lines and a drawing
"""
