"""Check digits: what tells a number that was issued from one that only looks like it."""

from string import ascii_uppercase, digits

VALUES = {char: value for value, char in enumerate(digits + ascii_uppercase)}
"""Digits as they are, letters from 10: how ISO 13616 (IBAN) reads letters as numbers."""

# The dihedral group of order 10, its powers of one permutation: Verhoeff 1969, "Error detecting decimal codes".
DIHEDRAL = tuple(
    tuple(
        (a + b) % 5 if a < 5 and b < 5 else 5 + (a + b) % 5 if a < 5 else 5 + (a - b) % 5 if b < 5 else (a - b) % 5
        for b in range(10)
    )
    for a in range(10)
)
PERMUTATION = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def luhn(number: str) -> bool:
    """Say whether the last digit fits: every second from the right doubled (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(map(int, reversed(number))):
        doubled = digit * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def verhoeff(number: str) -> bool:
    """Say whether the last digit fits, by Verhoeff's scheme."""
    state = 0
    for place, digit in enumerate(map(int, reversed(number))):
        for _ in range(place % 8):
            digit = PERMUTATION[digit]
        state = DIHEDRAL[state][digit]
    return state == 0


def mod97(account: str) -> bool:
    """Say whether an IBAN's check digits fit (ISO 7064, mod 97-10)."""
    return int("".join(str(VALUES[char]) for char in account[4:] + account[:4])) % 97 == 1


def weighted(number: str, weights: range | tuple[int, ...]) -> int:
    """Return the sum of the digits, each times its weight."""
    return sum(int(digit) * weight for digit, weight in zip(number, weights, strict=False))
