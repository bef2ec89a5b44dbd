"""The cache of answers: what was asked before is not asked, or paid for, again."""
