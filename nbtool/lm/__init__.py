"""Language models: what a program asks, and the transport that carries it."""
