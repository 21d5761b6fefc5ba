"""Very large pictures, a piece after the other: each is searched and restored by itself, with a margin thrown away.

So the memory is that of a piece, beside what is kept of the whole: the answer. The seams cannot show where nothing is
damaged, for there the answer is the input; damaged values next to a seam are restored with all that is around them, for the
margins of neighbours overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from doprestore.drive import Progress, Save, State
from doprestore.errors import InputError
from doprestore.image.light import Damage
from doprestore.image.masks import checked_mask
from doprestore.image.recovery import ImageResult
from doprestore.image.settings import ImageSettings
from doprestore.image.windows import Place, windows

# Pixels around a piece that are restored with it and thrown away; fills and network reach no further than 40.
MARGIN = 64


def places(height: int, width: int, side: int) -> Iterator[tuple[Place, Place, Place]]:
    """:func:`windows` for pieces of at most ``side`` pixels, margins included."""
    return windows((height, width), side - 2 * MARGIN, MARGIN)


def recover_pieces(
    picture: Tensor,
    settings: ImageSettings,
    side: int,
    recover: Callable[..., ImageResult],
    *,
    mask: Tensor | None = None,
    clean: Tensor | None = None,
    callback: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    save: Save | None = None,
    resume: State | None = None,
) -> ImageResult:
    """As :func:`doprestore.image.recovery.recover_image`, in pieces of ``side`` pixels, each by
    ``recover(piece, settings, ...)``, which takes the same options.

    In a :class:`Progress` the steps are those of all pieces, as far as they can be told; loss, share and PSNR are those of
    the piece at work. After an early stop what no piece has reached is as it was.
    """
    mask = None if mask is None else checked_mask(mask, picture)
    whole = _Whole(picture)
    if resume is not None:
        whole.load_state_dict(resume)
    parts = list(places(picture.shape[1], picture.shape[2], side))
    last: ImageResult | None = None
    while whole.finished < len(parts):
        outer, inner, place = parts[whole.finished]
        result = recover(
            picture[outer].contiguous(),
            settings,
            mask=None if mask is None else mask[outer].contiguous(),
            clean=None if clean is None else clean[outer].contiguous(),
            callback=callback and (lambda progress: callback(whole.progress(progress, len(parts)))),
            should_stop=should_stop,
            save=save and (lambda state: save(lambda: whole.state_dict(side, state()))),
            resume=whole.take_inner(),
        )
        whole.add(result, place, inner)
        last = result
        if result.interrupted:
            break
    return whole.result(settings, last)


class _Whole:
    """What is kept of the whole picture while its pieces come and go."""

    def __init__(self, picture: Tensor):
        self.finished = 0  # pieces
        self._steps, self._seconds = 0, 0.0  # of these
        self._inner: State | None = None  # the state of the piece at work, to go on from
        self._damage: dict[str, list[float]] = {}  # kind: values, and values by mistake
        self._values, self._undecided = 0, False
        self._pictures = {"restored": picture.clone(), "network": picture.clone(), "outliers": torch.zeros_like(picture)}
        self._pictures["found"] = torch.zeros_like(picture, dtype=torch.bool)

    def add(self, result: ImageResult, place: Place, inner: Place) -> None:
        for name, values in self._pictures.items():
            values[place] = getattr(result, name)[inner]
        size = result.restored.numel()
        self._values += size
        for one in result.damage:
            kind = self._damage.setdefault(one.kind, [0.0, 0.0])
            kind[0] += one.share * size
            kind[1] += (one.mistaken or 0.0) * size
        self._undecided |= result.undecided
        self._steps += result.steps
        self._seconds += result.seconds
        self.finished += 1

    def take_inner(self) -> State | None:
        inner, self._inner = self._inner, None
        return inner

    def progress(self, one: Progress, pieces: int) -> Progress:
        left = pieces - self.finished
        return replace(
            one,
            step=self._steps + one.step,
            steps=self._steps + left * one.steps,
            seconds=self._seconds + one.seconds,
        )

    def result(self, settings: ImageSettings, last: ImageResult | None) -> ImageResult:
        assert last is not None  # a state is saved before the last piece has come to its end
        total = max(1, self._values)
        return ImageResult(
            **self._pictures,
            settings=settings,
            device=last.device,
            steps=self._steps,
            loss=last.loss,
            seconds=self._seconds,
            interrupted=last.interrupted,
            damage=tuple(Damage(kind, share / total, wrong / total) for kind, (share, wrong) in self._damage.items()),
            undecided=self._undecided,
        )

    def state_dict(self, side: int, inner: State) -> State:
        """With the state of the piece at work."""
        return {
            "piece": side,
            "finished": self.finished,
            "counts": (self._steps, self._seconds, self._values, self._undecided),
            "damage": self._damage,
            "pictures": self._pictures,
            "inner": inner,
            "seconds": self._seconds + float(inner.get("seconds", 0.0)),
        }

    def load_state_dict(self, state: State) -> None:
        """Raises :class:`InputError` for the state of another picture."""
        try:
            for name, values in self._pictures.items():
                if state["pictures"][name].shape != values.shape:
                    raise ValueError
                values.copy_(state["pictures"][name])
            self.finished, self._inner = int(state["finished"]), state["inner"]
            self._steps, self._seconds, self._values, self._undecided = state["counts"]
            self._damage = {kind: list(values) for kind, values in state["damage"].items()}
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError("the saved state does not fit this picture; start again") from error
