"""Colours: what things are painted in, and how each sky lights them."""

RGB = tuple[int, int, int]

SKY_GRADIENTS: dict[str, tuple[RGB, RGB, RGB]] = {
    "blue": ((78, 156, 226), (140, 196, 238), (214, 236, 247)),
    "grey": ((128, 138, 150), (166, 174, 182), (212, 215, 217)),
    "sunset": ((104, 84, 158), (236, 120, 106), (255, 210, 128)),
    "night": ((14, 20, 58), (30, 44, 96), (66, 88, 146)),
}
GROUND_GRADIENTS: dict[str, tuple[RGB, RGB]] = {
    "grass": ((162, 206, 100), (82, 150, 62)),
    "snow": ((246, 250, 253), (210, 223, 240)),
    "sand": ((250, 230, 176), (226, 190, 122)),
    "road": ((158, 158, 164), (112, 112, 120)),
    "floor": ((204, 156, 106), (166, 116, 72)),
    "water": ((112, 180, 212), (36, 98, 152)),
}
# Share of red, green and blue light that reaches the scenery, and the animals, which stay readable.
SCENERY_LIGHT = {
    "blue": (1.0, 1.0, 1.0),
    "grey": (0.86, 0.88, 0.91),
    "sunset": (1.0, 0.84, 0.74),
    "night": (0.46, 0.55, 0.76),
}
SNOW_AT_SUNSET = (0.89, 0.82, 0.93)
FIGURE_LIGHT = {
    "blue": (1.0, 1.0, 1.0),
    "grey": (0.95, 0.95, 0.96),
    "sunset": (1.0, 0.95, 0.9),
    "night": (0.8, 0.83, 0.92),
}
COATS: dict[str, dict[str, RGB]] = {
    "white": {
        "main": (251, 249, 243),
        "light": (255, 255, 255),
        "shade": (204, 197, 194),
        "far": (214, 208, 205),
        "face": (232, 214, 200),
        "mane": (208, 201, 199),
        "outline": (122, 116, 124),
        "eye": (40, 34, 38),
    },
    "black": {
        "main": (46, 44, 52),
        "light": (64, 62, 74),
        "shade": (27, 26, 33),
        "far": (30, 29, 36),
        "face": (66, 61, 70),
        "mane": (22, 21, 28),
        "outline": (14, 13, 20),
        "eye": (238, 238, 240),
    },
    "brown": {
        "main": (128, 74, 44),
        "light": (152, 94, 60),
        "shade": (90, 48, 28),
        "far": (96, 53, 32),
        "face": (158, 108, 76),
        "mane": (64, 35, 23),
        "outline": (62, 33, 21),
        "eye": (24, 14, 10),
    },
    "golden": {
        "main": (232, 162, 58),
        "light": (246, 192, 100),
        "shade": (190, 124, 40),
        "far": (196, 130, 46),
        "face": (246, 206, 146),
        "mane": (252, 228, 172),
        "outline": (126, 78, 26),
        "eye": (44, 26, 10),
    },
}
MOONLIT_OUTLINE: RGB = (132, 140, 178)
ANIMAL_ACCENTS: dict[str, RGB] = {"pink": (236, 168, 164), "horn": (242, 230, 204)}
PAINTS: tuple[RGB, ...] = ((206, 66, 60), (58, 112, 186), (238, 184, 62), (78, 148, 118))
THING_TONES: dict[str, RGB] = {
    "glass": (196, 224, 238),
    "lamp": (252, 240, 176),
    "tyre": (40, 40, 46),
    "metal": (120, 124, 132),
    "wood": (168, 118, 72),
    "shade_wood": (130, 88, 52),
    "sail": (250, 246, 236),
    "skin": (236, 190, 156),
    "hair": (84, 54, 36),
    "trousers": (70, 78, 108),
    "outline": (58, 52, 58),
}
DOG_COATS: tuple[dict[str, RGB], ...] = tuple(
    {"main": main, "far": far, "shade": shade, "eye": (26, 22, 24), "outline": (70, 50, 38)}
    for main, far, shade in (
        ((214, 164, 108), (176, 130, 82), (150, 102, 62)),
        ((240, 230, 214), (206, 194, 176), (170, 120, 80)),
        ((150, 98, 62), (116, 74, 46), (92, 56, 36)),
        ((120, 116, 122), (92, 88, 96), (70, 66, 74)),
    )
)


def lit(colour: RGB, light: tuple[float, float, float]) -> RGB:
    """The colour under a light."""
    red, green, blue = (round(value * share) for value, share in zip(colour, light, strict=True))
    return (red, green, blue)


def mixed(first: RGB, second: RGB, share: float) -> RGB:
    """The first colour with `share` of the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return (red, green, blue)
