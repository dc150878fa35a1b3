"""The kinds of scenes there are; says so without Numba, which the renderer needs."""

WEIGHTS = {
    "room": 5,
    "corridor": 2,
    "stairs": 1,
    "warehouse": 2,
    "company": 3,
    "tabletop": 4,
    "shelves": 2,
    "surface": 2,
    "clutter": 2,
    "street": 4,
    "field": 3,
}
"""How often a kind is drawn, by its name."""

KINDS = tuple(WEIGHTS)
