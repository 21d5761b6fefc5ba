"""Image recovery: eq. (9)-(10), y = φ(θ) + g∘g − h∘h, by discrepant learning rates.

Each step, with r = φ(θ) + s − y and s = g∘g − h∘h, makes

    θ ← θ − τ ∇θ mean(r²)          (SGD in the paper preset, optimizer.py in the fast one)
    g ← g − c r∘g,   h ← h + c r∘h

The published code gives SGD on the *mean* of r² the rates 1 (θ) and 500 (g, h); that is eq. (10)
with τ rescaled by 4/(C·H·W), and c = 4·500/(C·H·W). See :class:`Clock` for other sizes.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

import torch
from torch import Tensor

from doprestore.errors import InputError
from doprestore.image.canvas import Padding
from doprestore.image.graphs import Replayed
from doprestore.image.kept import COUPLED, channel_coupling, spare_neighbourhoods, unexplained
from doprestore.image.levels import SharedLevels, shared_levels
from doprestore.image.masks import check_picture, checked_mask
from doprestore.image.optimizer import forget, optimizers
from doprestore.image.schedule import HEAVY, INPUT_NOISE, LIGHT, MANY, SEARCHES, VERY_MANY, Clock, last_noise, light_pace
from doprestore.image.settings import ImageSettings
from doprestore.image.start import network_and_input
from doprestore.image.strokes import stand_together
from doprestore.image.unet import UNet
from doprestore.machine import choose_device, uses_bfloat16
from doprestore.outliers import MirrorOutliers, OutlierPair, shared_part

INITIAL_SCALE = 1e-5  # of g and h
EDGE = 0.02  # ε of the robust objective
SLIGHT = 0.05  # a value no further off may be right, although s explains it better than the network
# Where the channel coupling of the outliers is below SINGLY, what all channels are off by, up to DETAIL, is left to θ.
# Pictures have 0.09 at most under single impulses, for some of their details are found, too (a very sharp one had 0.14);
# cosmic rays on 3 % of the pixels beside impulses on 10 % make it 0.12 to 0.19.
SINGLY = 0.1
DETAIL = 0.2
RELUCTANCE = 0.05  # the rate of g and h, against that of the others, for values off the levels that outliers share


class ImageRecovery:
    """The recovery of one picture, a step at a time.

    picture: (C, H, W), C = 1 or 3, float in [0, 1].
    mask: bool, (H, W) or (C, H, W), True where the value is known to be bad: A of eq. (3) then samples the
        others, so that the network alone says what belongs there.
    """

    def __init__(self, picture: Tensor, settings: ImageSettings, mask: Tensor | None = None):
        check_picture(picture)
        self.settings = settings
        self.device = choose_device(settings.device)
        self.padding = Padding(picture.shape[1], picture.shape[2])
        self.y = self.padding.pad(picture.to(self.device, torch.float32))
        # A, as a factor; the fast preset's commit will need one in any case.
        self.sampling = None if settings.is_paper else torch.ones_like(self.y)
        self._bad = torch.zeros_like(self.y, dtype=torch.bool)  # known from the start
        if mask is not None:
            self._bad = self.padding.pad(checked_mask(mask, picture).to(self.device))
            self.sampling = (~self._bad).float()
        self._known = 1 - float(self._bad.float().mean())  # the share of values that A keeps
        self.clock = Clock(settings, *self.padding.padded)
        self.step_number = 0

        bfloat16 = uses_bfloat16(settings.convolutions, self.device)
        self._precision = torch.autocast(self.device.type, torch.bfloat16) if bfloat16 else contextlib.nullcontext()
        self.random = torch.Generator().manual_seed(settings.seed)
        network, z = self._drawn()
        self.network = network.to(self.device, memory_format=torch.channels_last)
        # What the first convolutions round at every step is rounded here once.
        kind = torch.bfloat16 if bfloat16 and not settings.is_paper else torch.float32
        self.z = z.to(self.device, kind, memory_format=torch.channels_last)
        self.optimizers = optimizers(self.network, settings, self.device)
        self.noise = torch.Generator(self.device).manual_seed(settings.seed)
        if settings.is_paper:
            self.outliers = OutlierPair.normal(self.y, INITIAL_SCALE, self.random)
        else:
            self.outliers = MirrorOutliers.zeros(self.y, INITIAL_SCALE)
        self.average = torch.zeros_like(self.y)
        # Factors to the rate of g and h, by value.
        self.readiness = None if settings.is_paper else torch.ones_like(self.y)
        self._found_once = None if settings.is_paper else torch.ones_like(self.y, dtype=torch.bool)
        self.loss = torch.zeros((), device=self.device)
        # What changes from step to step without being computed, where a CUDA graph finds it.
        self._rate_now, self._weight_now = torch.zeros((2,), device=self.device)
        self._add_noise(INPUT_NOISE if settings.is_paper else 0.0)

    def _drawn(self) -> tuple[UNet, Tensor]:
        return network_and_input(self.padding, len(self.y), self.settings, self.random)

    @torch.no_grad()
    def _restart_network(self) -> None:
        """As at the start, but for the random numbers and the colours that the picture is known to have by now.

        In place, for a CUDA graph knows the tensors by address."""
        network, z = self._drawn()
        self.network.load_state_dict(network.state_dict())
        self.network.know_colours(self.network_output(), graded=channel_coupling(self.sampling == 0) < COUPLED)
        self.z.copy_(z)
        forget(self.optimizers)

    def _end_search(self, levels: SharedLevels) -> None:
        """Call what s explains outliers for good, if it is time, and start θ afresh on all the rest.

        While a search goes on, θ fits some of the corruption before s has taken it over, and nothing makes
        it forget. From here on the committed values no longer enter the residual: the limit of an infinite rate.
        The first search is quick, and takes details for outliers. Where there are few outliers, and each by itself,
        a network that is given time learns the details and hardly any of these; so nothing is committed, and all is
        searched again at a slower pace. Where there are very many, it is searched again, too, by the robust objective,
        and fitted by it. In both, what all channels of a pixel are off by is left to θ, where outliers strike them singly.
        Else, where the steps suffice, the first search is made anew from another start, and what only one of the two has
        found is spared: a network may be far off in some place for a while.

        All this is for outliers of any level. Where they share a few, these are left out at once, and other values need
        to be off for longer from then on.
        """
        absorbed = self._absorbed() & (self.sampling > 0)
        search = max(1, self.step_number // self.clock.search_steps)  # the first may end halfway
        last = False
        if levels.explain:
            last = levels.settled or search >= SEARCHES
            if last and search == 1:
                self.step_number = self.clock.end_searches(self.step_number)
            else:
                self.clock.searches = search if last else SEARCHES
            self.readiness.copy_(torch.where(levels.suspects, 1.0, RELUCTANCE))
            # What else is found at these levels is an area of the picture, if the network does not know it as yet.
            self._leave_out(levels.outright if levels.settled else levels.outright | absorbed & levels.suspects)
        elif search == 1 and self._stand_alone(absorbed):
            self.clock.slow_down(light_pace(self._share(absorbed)))
            self.clock.singly = channel_coupling(absorbed) < SINGLY
        elif search == 1 and self._share(absorbed) >= HEAVY:
            self.clock.searches, self.clock.robust = SEARCHES, True
            self.clock.singly = channel_coupling(absorbed) < SINGLY
        elif search == 1 and self.clock.searches > SEARCHES:
            self._found_once = absorbed
        else:
            last = search == self.clock.searches
            self._leave_out(absorbed if last else absorbed & self._found_once, spare=last)
        if last:
            self.clock.fits = 2 if self.clock.found > MANY and not levels.explain else 1
            self.clock.robust = self.clock.found > VERY_MANY and not levels.explain
            # Among very many, all of a pixel are as likely outliers as a detail.
            self.clock.singly &= not (self.clock.robust or levels.explain)
        self._start_afresh(0.0 if not last else LIGHT if levels.explain else 1.0)

    def _end_first_fit(self) -> None:
        """Leave out what it has found, and fit once more: where there are many outliers of any level, the searches miss
        many of them, and the fit has learnt some of these. What is hardly off may as well be right."""
        self._leave_out(self._absorbed() & ((self.y - self.average).abs() > SLIGHT), spare=True)
        self.clock.singly = False  # s is to take whatever is left now
        self._start_afresh(1.0)

    def _start_afresh(self, brake: float) -> None:
        """Another fit from the start. brake: how much of the input noise that the unexplained rest of the last tells."""
        if brake:
            rms = unexplained(self.y - self.average, self.sampling)
            self._add_noise(brake * last_noise(rms, float(self.sampling.mean()), len(self.y)))
        self.outliers.restart_()
        self._update = Replayed(self.device)  # steps may compute something else now
        self._restart_network()  # the average goes on: a run that is stopped soon still has a picture

    def _stand_alone(self, absorbed: Tensor) -> bool:
        """Whether these are few, and each by itself."""
        strength = (self.y - self.average).abs()
        return self._share(absorbed) < HEAVY and not stand_together(absorbed, strength, self._known)

    def _share(self, values: Tensor) -> float:
        """Their share of the known values."""
        return float(values.float().mean()) / self._known

    def _levels(self) -> SharedLevels:
        """The levels that the outliers found so far share; its masks are padded."""
        y = torch.where(self._bad, self.average, self.y)  # what lies under the mask says nothing
        levels = shared_levels(*map(self.padding.crop, (y, self.average, self._absorbed() & ~self._bad)))
        masks = {name: self.padding.pad(getattr(levels, name)) for name in ("suspects", "outright")}
        return replace(levels, **masks)

    def _leave_out(self, outliers: Tensor, spare: bool = False) -> None:
        """From here on these do not enter the residual; ``spare`` leaves every neighbourhood some of its values.

        A second search must not strip one of what it is to be rebuilt from. (The first may: what it would spare, the
        second network gets wrong again, and by then it is too late.)
        """
        left = self.sampling * ~outliers
        self.sampling.copy_(spare_neighbourhoods(left, self.sampling) if spare else left)
        self.clock.found = 1 - self._share(self.sampling)

    def _add_noise(self, level: float) -> None:
        """From here on every step adds fresh noise of that standard deviation to φ's input."""
        self.input_noise = level
        # In z's order (channels last) but contiguous and float32: on a CPU nothing else is drawn fast.
        self._fresh = torch.empty(self.z.permute(0, 2, 3, 1).shape, device=self.device) if level else None
        self._update = Replayed(self.device)  # steps compute something else now

    def step(self) -> None:
        """One step of eq. (10). Only the end of a search waits for the device."""
        if self._fresh is not None:
            self._fresh.normal_(generator=self.noise)
        self._rate_now.fill_(self.clock.rate(self.step_number))
        # 1 - 1/(n+1) makes the early average a plain mean, instead of one biased to its start.
        self._weight_now.fill_(1 - min(self.settings.average, 1 - 1 / (self.step_number + 1)))
        self._update(self._compute)
        self.step_number += 1
        over = self.clock.ends_search(self.step_number)
        if over or self.clock.is_halfway(self.step_number):
            levels = self._levels()
            if over or (levels.explain and levels.settled):
                self._end_search(levels)
        elif self.clock.ends_first_of_two_fits(self.step_number):
            self._end_first_fit()

    def _compute(self) -> None:
        """What a step computes on the device; a CUDA graph of it must go for every step, see :class:`Replayed`."""
        z = self.z
        if self._fresh is not None:
            z = torch.add(z, self._fresh.permute(0, 3, 1, 2), alpha=self.input_noise).to(z.dtype)
        with self._precision:
            x = self.network(z)
        x = x.squeeze(0)
        everywhere = x + self.outliers.value() - self.y
        residual = everywhere if self.sampling is None else everywhere * self.sampling
        loss = self.objective(residual)
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        drive = residual.detach()
        if self.clock.singly:  # what all channels are off by is rather a detail that φ does not know yet
            shared = shared_part(everywhere.detach() * ~self._bad)
            drive = drive - self.sampling * shared.clamp(-DETAIL, DETAIL)
        self.outliers.step_(drive if self.readiness is None else drive * self.readiness, self._rate_now)
        self.average.lerp_(x.detach(), self._weight_now)
        self.loss.copy_(loss.detach())

    def objective(self, residual: Tensor) -> Tensor:
        """What θ descends: the mean squared residual; where there are very many outliers, the mean of √(r² + ε²), whose
        fit goes through the median of what is around, and not the mean, which they draw away from dark and bright."""
        if self.clock.robust:
            return (residual.square() + EDGE**2).sqrt().mean()
        return residual.square().mean()

    def state_dict(self) -> dict[str, object]:
        """All that changes with the steps, for :meth:`load_state_dict`; the rest follows from picture and settings."""
        return {
            "step_number": self.step_number,
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "z": self.z,
            "outliers": self.outliers.state_dict(),
            "sampling": self.sampling,
            "found_once": self._found_once,
            "clock": self.clock.state_dict(),
            "readiness": self.readiness,
            "average": self.average,
            "loss": self.loss,
            "random": self.random.get_state(),
            "input_noise": self.input_noise,
            "noise": self.noise.get_state(),
        }

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on where :meth:`state_dict` was taken, bit for bit the same on the same CPU.

        Raises :class:`InputError` for a state of another picture or other settings.
        """
        try:
            self.network.load_state_dict(state["network"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.z.copy_(state["z"])
            if self.sampling is not None:
                self.sampling.copy_(state["sampling"])
            if self._found_once is not None:
                self._found_once.copy_(state["found_once"])
            if self.readiness is not None:
                self.readiness.copy_(state["readiness"])
            self.clock.load_state_dict(state["clock"])
            self.random.set_state(state["random"])
            self.outliers.load_state_dict(state["outliers"])
            self.average.copy_(state["average"])
            self.loss.copy_(state["loss"])
            self.noise.set_state(state["noise"])
            self.step_number = int(state["step_number"])
            self._add_noise(float(state["input_noise"]))  # and the optimisers have other tensors now
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError("the saved state does not fit this picture and these settings; start anew") from error

    def _absorbed(self) -> Tensor:
        """Padded (C, H, W) bool: committed values, and those that s explains better than the network does."""
        absorbed = self.outliers.value().abs() > 0.5 * (self.y - self.average).abs()
        return absorbed if self.sampling is None else absorbed | (self.sampling == 0)

    def network_output(self) -> Tensor:
        """φ(θ): (C, H, W), averaged over the last steps unless the preset says otherwise."""
        return self.padding.crop(self.average)

    def corruption(self) -> Tensor:
        """s: (C, H, W), the estimated corruption: g∘g − h∘h, and y − φ(θ) where the value is committed or known bad."""
        s = self.outliers.value()
        if self.sampling is not None:
            s = torch.where(self.sampling == 0, self.y - self.average, s)
        return self.padding.crop(s)

    def found_outliers(self) -> Tensor:
        """(C, H, W) bool: the values judged corrupted, those known to be bad among them."""
        return self.padding.crop(self._absorbed())

    def restored(self) -> Tensor:
        """The answer, (C, H, W) in [0, 1], by ``settings.output``."""
        output = self.network_output()
        if self.settings.output == "composed":
            output = torch.where(self.found_outliers(), output, self.padding.crop(self.y))
        return output
