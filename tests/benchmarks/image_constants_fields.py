"""What image_constants.py varies, what not and why, and the damage that each constant is measured on."""

from __future__ import annotations

from typing import Any, NamedTuple

# The modules that decide in the fast preset. The others are the paper's, or hold, cut, count and plan.
MODULES = (
    *("corrector", "crossfit", "details", "fill", "fit", "frame", "learner", "lines", "medians", "optimizer", "scale"),
    *("screening", "tones", "tracks", "undecided", "unseen", "verdict"),
)

BOUND = "bounds time or memory, from where on more changes nothing"
NUMERICS = "numerics: a floor, a cap or a count that is as good as without end"
MEANING = "its meaning, not a choice"
SHAPE = "the shape of the network or of a filter"
STRUCTURAL = {
    "corrector.GAINS": "make the spreads of the inputs alike",
    "corrector.STRIDE": "follows from HALVINGS",
    "details.HALVINGS": NUMERICS,
    "details.LEAST_LOG_ODDS": NUMERICS,
    "details.SHIFTS": "an average over so many draws",
    "fill.CERTAIN": NUMERICS,
    "fill.SELF": "follows from GRADIENT",
    "learner.GAMMA": "the start of g and h, as in the paper: as good as 0",
    "lines.AT_A_TIME": BOUND,
    "lines.ENOUGH": BOUND,
    "lines.LEAST_SIDE": "pictures too small to be judged",
    "lines.TONE": MEANING,
    "medians.REACH": SHAPE,
    "optimizer.BETAS": "the reference's",
    "optimizer.EPSILON": NUMERICS,
    "optimizer.MOMENTUM": "the reference's",
    "scale.REACH": "follows from AROUND",
    "screening.BOUND": MEANING,
    "screening.OWN_SEEDS": "any number",
    "screening.ROUNDS": "follows from the rounds of both sorts",
    "screening.SAMPLE": BOUND,
    "tones.AT_A_TIME": BOUND,
    "tracks.BOUNDS": "a grid of values that are tried in turn",
    "tracks.DIRECTIONS": SHAPE,
    "tracks.NARROW": MEANING,
    "tracks.HALO": MEANING,
    "undecided.ENOUGH": BOUND,
    "unseen.GUESSED": BOUND,
    "verdict.BINS": "a grid, fine enough",
    "verdict.DRAWS": "a grid, fine enough",
    "verdict.LEAST": "the ends of a grid",
    "verdict.MANY": BOUND,
    "verdict.MOST": "the ends of a grid",
    "verdict.TONES": MEANING,
    "verdict.UNSURE": MEANING,
}
# Values that half and twice say nothing of.
VALUES: dict[str, tuple[Any, ...]] = {
    "corrector.HALVINGS": (2, 4),
    "crossfit.TURNS": (((0,), (0,)), ((0, 1, 2, 3, 4, 5, 6, 7), (0,))),
    "fit.TURNS": (1, 4),
    "lines.VARYING": (3, 9),
    "scale.AROUND": (5, 17),
    "screening.LATE": (1, 3),
    "tones.NEIGHBOURHOOD": (5, 21),
    "tracks.AROUND": (11, 41),
    "verdict.TAIL": ((0.05, 0.6), (0.2, 0.6), (0.1, 0.3), (0.1, 0.8)),
}


class Field(NamedTuple):
    """What constants are measured on: ``kinds`` of damage of each of the ``pictures``; and ``whole`` ones, of 128x128."""

    pictures: tuple[str, ...]
    kinds: tuple[str, ...]
    whole: tuple[str, ...] = ()
    side: int = 96
    network: bool = False


PHOTOGRAPHS = ("camera", "coffee", "F16")
WHOLE_SIDE = 128
WHOLE = ("astronaut", "camera", "coffee", "brick", "cell", "F16", "Baboon", "stars", "drawing")
SINGLE = ("random-1", "random-20", "salt-pepper-5", "hot-1", "salt-pepper-pixel-20", "noise-random-20")
# Those of them that other constants might change.
TRYING = ("brick", "Baboon", "stars", "drawing")
FIELDS = {
    "single": Field(PHOTOGRAPHS, SINGLE, WHOLE),
    "fit": Field(("coffee", "F16"), ("random-20", "salt-pepper-30"), side=64, network=True),
    "lines": Field(PHOTOGRAPHS, ("dead-rows", "dead-rows-part", "offset-lines"), ("cell", *TRYING)),
    "tones": Field(PHOTOGRAPHS, ("text", "lines", "salt-pepper-30", "noise-salt-pepper-20"), TRYING),
    "undecided": Field(PHOTOGRAPHS, ("random-50", "salt-pepper-60", "text"), ("noise", "print", *TRYING)),
    "edges": Field(("F16 corner", "coffee framed"), ("random-5", "random-20"), ("F16 corner", "coffee framed")),
    "tracks": Field(("camera", "coffee", "cell", "stars"), ("rays-1",), WHOLE, 128),
    "network": Field(("astronaut", "F16"), ("random-20",), side=64, network=True),
    "crops": Field(("F16",), ("random-20",), side=192, network=True),
}
FIELD_OF_MODULE = {
    **dict.fromkeys(("corrector", "crossfit", "learner", "optimizer"), "network"),
    **{"fit": "fit", "frame": "edges", "lines": "lines", "tones": "tones", "tracks": "tracks", "undecided": "undecided"},
}
FIELD_OF = {
    "learner.CROP": "crops",
    "learner.CROPS": "crops",
    **{f"screening.{name}": "network" for name in ("DOUBT", "FILL_ROUNDS", "NET_ROUNDS", "STILL")},
    "screening.TONE_ROUNDS": "tones",
}


def field_of(name: str) -> str:
    return FIELD_OF.get(name) or FIELD_OF_MODULE.get(name.partition(".")[0], "single")
