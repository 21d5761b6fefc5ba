"""Pictures: y = φ(θ) + g∘g − h∘h, eq. (9)-(10). :mod:`doprestore.image.api` is the way in."""
