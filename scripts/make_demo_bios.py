"""Write a CSV of invented short biographies, for docs/GPT2.md.

    python scripts/make_demo_bios.py bios.csv [ROWS]

The same rows every time. Nobody in them exists.
"""

import csv
import random
import sys
from pathlib import Path

_NAMES = ("Ada", "Boris", "Clara", "Dimitri", "Elsa", "Farid", "Grete", "Hugo", "Ines", "Jonas")
_SURNAMES = ("Albrecht", "Bellini", "Corvin", "Duarte", "Ekholm", "Fontane", "Graf", "Hollis")
_TOWNS = ("Lyrheim", "Port Anselm", "Velby", "Santa Orla", "Brackwater", "Nowy Dwor", "Kelso Bay")
_WORK = (
    "built bridges",
    "taught mathematics",
    "painted signs for shops",
    "mended clocks",
    "wrote songs for the theatre",
    "kept the lighthouse",
    "translated poems",
)
_LATER = (
    "moved to {town} and opened a small school",
    "travelled to {town}, where two children were born",
    "returned to {town} after a long illness",
    "published a book about {town}",
)
_END = (
    "The house still stands.",
    "Little else is known.",
    "A street in {town} bears the name.",
    "Friends remembered a patient listener.",
)


def biography(rng: random.Random) -> tuple[str, str]:
    """(name, text) of three or four sentences."""
    name = f"{rng.choice(_NAMES)} {rng.choice(_SURNAMES)}"
    born = rng.randint(1800, 1930)
    town, other = rng.sample(_TOWNS, 2)
    parts = [
        f"{name} was born in {town} in {born}.",
        f"For {rng.randint(3, 40)} years {name.split()[0]} {rng.choice(_WORK)}.",
        f"In {born + rng.randint(25, 50)} {name.split()[0]} "
        f"{rng.choice(_LATER).format(town=other)}.",
    ]
    if rng.random() < 0.6:
        parts.append(rng.choice(_END).format(town=town))
    return name, " ".join(parts)


def write(path: Path, rows: int) -> None:
    """Write the file; every fiftieth biography is empty, as in files of the world."""
    rng = random.Random(7)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "bio"])
        for number in range(1, rows + 1):
            name, text = biography(rng)
            writer.writerow([name, "" if number % 50 == 0 else text])


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3 or len(sys.argv) == 3 and not sys.argv[2].isdecimal():
        sys.exit("usage: python scripts/make_demo_bios.py FILE.csv [ROWS]")
    write(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 200)
