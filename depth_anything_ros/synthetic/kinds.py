"""The kinds of scenes and of cameras, in a module without Numba, which the renderer needs."""

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
"""Relative frequency of each kind, by name."""

KINDS = tuple(WEIGHTS)

AT_ARMS_LENGTH = ("tabletop", "clutter")
"""Kinds that a hand or an arm holds the camera over: they have no level views."""

CAMERAS = ("robot", "wild")
"""Priors of views, see `camera_prior.PRIORS`: most level and at the height of a robot, or from anywhere."""
