"""Matrices: y = A(U Uᵀ − V Vᵀ) + g∘g − h∘h, eq. (3)-(8). :mod:`doprestore.matrix.api` is the way in."""
