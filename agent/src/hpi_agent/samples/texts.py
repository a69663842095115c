"""What stands on rendered pages and lines: sentences, rows of bills, captions; letters, digits and signs of ASCII."""

from __future__ import annotations

from typing import Final

WORDS: Final = ("Total", "Page 7", "Agenda", "Delivery", "Platform 12", "Open", "Ticket 4081", "Thank you")
"""Short lines, as they stand on forms and buttons."""

HEADINGS: Final = (
    "Notes of the spring meeting",
    "How the mill was repaired",
    "Timetable and prices",
    "A walk along the canal",
    "What the survey found",
    "Opening hours",
)

SENTENCES: Final = (
    "The ferry leaves the pier at 9:40 and reaches the island before noon.",
    "Nobody had counted the chairs, so three guests sat on the piano bench.",
    "Two of the five pumps were replaced in March; the others run as before.",
    "Her letter arrived on a Tuesday, between a bill and a seed catalogue.",
    "Keep the jar closed, away from light, and below 25 degrees.",
    "The bridge carries 1,480 vehicles a day, most of them before eight.",
    "We measured the field twice and wrote down both results.",
    "In the second drawer there is a key with a red ribbon.",
    "Rain fell for eleven days, and the lower road was closed.",
    "The new lamps need 36 watts each, less than half of the old ones.",
    "Please return the form by 14 June, signed on both pages.",
    "Every apprentice keeps a book in which the day's work is drawn.",
    "At the crossing turn left, then follow the wall to the gate.",
    "The baker starts at four; by seven the first loaves are sold.",
    "A copy of this report was sent to the archive in Lund.",
    "Whoever finds the grey scarf may leave it at the front desk.",
    "The clock in the hall has been nine minutes late since winter.",
    "Our train was 20 minutes late, yet the bus had waited.",
    "Paint the frame first, let it dry, and hang the door afterwards.",
    "The garden holds 62 kinds of apple, some older than the house.",
)

LONG_LINES: Final = (
    "The committee met on 3 October, read the minutes and agreed to mend the roof first.",
    "Between the harbour and the market there are seven streets and one very narrow stair.",
    "If the green light stays on for ten seconds, close the valve by hand and call us.",
    "Copies cost 15 cents a page, or 2.50 for a whole chapter; ask at the front desk.",
)

BILL: Final = (
    ("Rye bread", "3.40"),
    ("Apples 1.5 kg", "4.20"),
    ("Olive oil", "11.90"),
    ("Paper towels", "2.75"),
    ("Tea, 50 bags", "6.30"),
    ("Batteries AA", "7.95"),
    ("Honey 500 g", "8.60"),
    ("Soap", "1.85"),
)
"""Goods and prices."""

MENU: Final = ("File", "Edit", "View", "Search", "Tools", "Help")

TABLE: Final = (
    ("Station", "Arrival", "Track", "Distance"),
    ("Northgate", "08:15", "3", "12 km"),
    ("Millbrook", "08:42", "1", "31 km"),
    ("Ashford", "09:07", "2", "55 km"),
    ("Lakeside", "09:33", "4", "78 km"),
    ("Harrow Hill", "10:01", "1", "96 km"),
)
