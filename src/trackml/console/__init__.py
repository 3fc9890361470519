"""What a person sees while a program of ours runs, and at its end: a view per kind of program."""
