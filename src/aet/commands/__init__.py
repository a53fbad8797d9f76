"""What the command line shares: reading options, printing answers, reporting errors."""
