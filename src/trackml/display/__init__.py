"""What a person sees while a program runs: lines, a bar, and what the full recipe costs."""
