"""What a call takes and gives, in words and types: signatures, their fields, their grammar."""
