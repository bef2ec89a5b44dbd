"""The door: which loop drives a call. It serves any coroutine and knows no LM."""
