"""The command line: a leaf. Nothing of llmprep imports it, and nothing else prints.

main.py       runs a command line: exit codes, one line for an error
app.py        the commands, gathered into one Typer app
spread.py     groups of options -> the signature that Typer reads
groups.py     groups of options that several commands share
help.py       the help of a command, its options in sections
options.py    values of options, and what is refused
stopping.py   the signals that end a run
printer.py    the only printing of results, notes and errors
colours.py    whether colours are wanted, and how wide a line may be
progress.py   how far a run has come, on a terminal
naming.py     names of outputs, and what they must not replace
unwritten.py  what is only shown, and written nowhere
notes.py      what every command says of its inputs
depfile.py    what an output was made from, as make reads it
written.py    what is said of an output that stands in its place
dry_run.py    what would be read and written
picture.py    what a command shows, as a page or a picture in a file

tokenize.py   the command tokenize, with
listing.py    its --count and --ids, and
store.py      its -o FOLDER/
pairs.py, window.py, embed.py, decode.py, merge.py, pack.py   the commands of these names
plan.py       the command plan, and
mixed.py      stores with weights, as it takes them
batches.py    the first batches of a loader, for window and inspect
inspect.py    the command inspect, with
subject.py    what it looks at,
looking.py    its --window, --around and --where
steps.py      its --step,
checks.py     its --verify and --check,
facts.py      what it says in a few words each, and
vocabularies.py  what it says of a vocabulary
"""
