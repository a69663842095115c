"""Near words: what a person probably meant.

It needs the standard library alone, because children in other environments report spelling mistakes too.
"""

from __future__ import annotations

import difflib


def did_you_mean(seen: str, known: list[str], listed: list[str] | None = None) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, else `; allowed: …`, else an empty string.

    Args:
        seen: The word that is not known.
        known: The known words.
        listed: The words to list where none is near; absent: all known ones.
    """
    folded = {word.lower().replace("_", ""): word for word in known}
    near = difflib.get_close_matches(seen.lower().replace("_", ""), folded, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {folded[near[0]]!r}?"
    shown = known if listed is None else listed
    return f"; allowed: {', '.join(sorted(shown))}" if shown else ""
