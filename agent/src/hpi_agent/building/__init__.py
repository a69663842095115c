"""Resolution of one model: candidates are built, judged and timed apart; the choice is remembered."""
