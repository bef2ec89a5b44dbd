"""Tools: functions that a language model may ask for."""
