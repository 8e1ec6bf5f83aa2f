"""Embedding vectors for texts: unit vectors that depend on nothing but the key."""

from __future__ import annotations

import sys
from array import array
from base64 import b64encode
from hashlib import shake_128
from math import sqrt


def unit_vector(key: bytes, dimensions: int) -> array[float]:
    """Return a vector of length 1 in 32-bit floats; fewer dimensions are the first of more, made length 1 again."""
    drawn = array("h", shake_128(key).digest(2 * dimensions))
    if sys.byteorder == "big":
        drawn.byteswap()
    values = [each + 0.5 for each in drawn]  # never all zero
    length = sqrt(sum([value * value for value in values]))
    return array("f", [value / length for value in values])


def as_json(vector: array[float]) -> str:
    """Write a vector as a JSON list, with the digits that a 32-bit float has."""
    return "[" + ",".join([f"{value:.9g}" for value in vector]) + "]"


def as_base64(vector: array[float]) -> str:
    """Write a vector as base64 of its floats in little-endian order."""
    if sys.byteorder == "big":
        vector = array("f", vector)
        vector.byteswap()
    return b64encode(vector.tobytes()).decode()
