"""Random numbers without state: a hash of integers, so that no cutting changes what an element draws.

Written with `* ^ + >> &` alone, on 32-bit words held in int64, so that the same code runs on numpy and torch
arrays and gives the same bits.
"""

from typing import Protocol, Self, TypeVar

_MASK = 0xFFFFFFFF


class Words(Protocol):
    """What is asked of an int64 array: numpy's and torch's have it."""

    def __mul__(self, other: int, /) -> Self: ...
    def __add__(self, other: Self | int, /) -> Self: ...
    def __xor__(self, other: Self | int, /) -> Self: ...
    def __and__(self, other: int, /) -> Self: ...
    def __rshift__(self, other: int, /) -> Self: ...


W = TypeVar("W", bound=Words)


def random_bits(*integers: W) -> W:
    """A hash of the integers (int64 arrays that broadcast): 32 random bits in an int64 array.

    Two lanes of 32 bits take up the words of every integer, low word first, and are mixed into one. One lane
    would not do: two rows whose states differ by d would then draw the same numbers, element j as element j ^
    d. Source of the mixers: Wellons, hash-prospector (lowbias32 and its later rival), 2018.
    """
    first = (integers[0] & 0) + 0x243F6A88  # the first digits of pi, 64 bits in all
    second = (integers[0] & 0) + 0x85A308D3
    for integer in integers:
        for word in (integer & _MASK, (integer >> 32) & _MASK):
            first = _mix(first ^ word, 0x7FEB352D, 0x846CA68B, 16)
            second = _mix(((second ^ word) + 0x9E3779B9) & _MASK, 0x21F0AAAD, 0x735A2D97, 15)
    return _mix((first + second) & _MASK, 0x7FEB352D, 0x846CA68B, 16)


def _mix(word: W, first_factor: int, second_factor: int, last_shift: int) -> W:
    """A bijection of 32-bit words in which every bit of the input moves every bit of the output."""
    word = _multiply(word ^ (word >> 16), first_factor)
    word = _multiply(word ^ (word >> 15), second_factor)
    return word ^ (word >> last_shift)


def _multiply(word: W, factor: int) -> W:
    """word * factor modulo 2**32, by 16-bit halves: no product leaves 48 bits, so int64 never overflows."""
    low = (word & 0xFFFF) * factor
    high = (((word >> 16) * factor) & 0xFFFF) * 0x10000
    return (low + high) & _MASK
