"""The kinds of damage that can be made, by name. Apart from make.py so that --help needs no torch."""

# The kinds by the name that --kind takes, with the line of --help on each.
KINDS = {
    "salt-pepper": "each channel value, with probability AMOUNT, becomes 0 or 1 (as in the paper)",
    "salt-pepper-pixel": "each pixel, with probability AMOUNT, becomes black or white",
    "random": "each channel value, with probability AMOUNT, becomes a random one",
    "random-pixel": "each pixel, with probability AMOUNT, gets a random colour",
    "lines": "dead rows and columns, black or white, over the share AMOUNT of the picture",
    "scratches": "thin strokes, black or white, over the share AMOUNT of the picture",
    "text": "lines of writing, black or white, over the share AMOUNT of the picture",
    "cosmic": "bright specks and short streaks over the share AMOUNT of the picture",
}
