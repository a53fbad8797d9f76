"""Arrays in, numbers out: drift and, later, label-free performance."""
