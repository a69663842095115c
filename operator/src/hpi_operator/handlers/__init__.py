"""kopf at the rim: its handlers name the object that needs a pass, and do no more."""
