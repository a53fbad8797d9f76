"""A trained model in service: one server, many streams, everything written down."""
