"""Values -> what a person sees. Nothing here prints.

plain.py       text made safe to show, numbers in words, and the lines that a pipe gets
screen.py      the same values as rich renderables, for a terminal
fitting.py     lines and tables fitted to a width, no word cut
explain.py     what max_length and stride do to a text, as lines and a drawing
characters.py  tokens' bytes -> what is shown of each, and which tokens share a split character
batches.py     the text of a batch's rows, and how many batches an epoch has
planned.py     what a run will take of its stores, in sentences and a table
still.py       ids -> fragments of HTML, for a notebook and a page
picture.py     what a terminal shows -> a still picture of it, as SVG
strip.py       tokens as running text, in which words can be chosen, and how one was merged
page.py        the same and more as a whole page, with page.html, page.css and page.js
"""
