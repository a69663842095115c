"""The program behind `images/build.py`: what is built, by which builder, and what came of it."""
