"""The words captions are made of: for each attribute and value, phrases that state exactly that.

Words of natural scenery (the keywords of the package's themes) belong to the countryside alone;
no phrase of a street, a room or the sea may hold one, or the keyword filter would meet a scene
that it must reject.
"""

NOUNS: dict[str, tuple[tuple[str, str], ...]] = {
    "cow": (("cow", "cows"),),
    "sheep": (("sheep", "sheep"),),
    "horse": (("horse", "horses"),),
    "alpaca": (("alpaca", "alpacas"),),
    "animal": (("animal", "animals"),),
    "car": (("car", "cars"),),
    "bench": (("bench", "benches"), ("wooden bench", "wooden benches")),
    "person": (("person", "people"),),
    "dog": (("dog", "dogs"),),
    "couch": (("couch", "couches"), ("sofa", "sofas")),
    "chair": (("chair", "chairs"),),
    "boat": (("boat", "boats"), ("sailing boat", "sailing boats"), ("sailboat", "sailboats")),
}
COLOURS = {
    "white": ("white",),
    "black": ("black",),
    "brown": ("brown",),
    "golden": ("golden", "golden", "tan"),
}
NUMBERS = {
    "1": ("{a}", "{a}", "{a}", "one", "a single"),
    "2": ("two", "two", "two", "a pair of"),
    "3": ("three", "three", "three", "a group of three"),
}
VERBS = (
    ("stands", "stand"),
    ("is standing", "are standing"),
    ("stands quietly", "stand quietly"),
    ("is waiting", "are waiting"),
    ("looks around", "look around"),
)
THING_VERBS = {
    "car": ("is parked", "stands", "waits"),
    "bench": ("stands",),
    "person": ("stands", "is standing", "waits"),
    "dog": ("stands", "is standing", "waits"),
    "couch": ("stands",),
    "chair": ("stands",),
    "boat": ("drifts", "is sailing", "floats"),
}

# Phrases that follow what they describe.
MODIFIERS: dict[str, dict[str, tuple[str, ...]]] = {
    "ground": {
        "grass": ("on the grass", "on green grass", "in a green meadow", "in a grassy field"),
        "snow": ("in the snow", "on snow", "on snowy ground", "in a snow-covered field"),
        "sand": ("on the sand", "on sandy ground", "on soft sand"),
        "road": ("on the road", "on the asphalt", "on a paved road"),
        "floor": ("on a wooden floor", "on the floor", "on wooden boards"),
        "water": ("on the water", "on the waves", "on calm water"),
    },
    "sky": {
        "blue": ("under a blue sky", "beneath a bright blue sky", "on a sunny day"),
        "grey": ("under a grey sky", "under a gray sky", "on an overcast day"),
        "sunset": ("at sunset", "under an orange sky", "as the sun goes down"),
        "night": ("at night", "under the stars", "in the moonlight"),
    },
    "background": {
        "mountain": (
            "in front of mountains",
            "below tall mountains",
            "with mountains in the background",
            "with a mountain behind",
        ),
        "hill": ("in front of low hills", "with rolling hills behind", "near a hill"),
        "forest": ("beside a forest", "in front of pine trees", "with a forest behind"),
        "none": ("on a wide plain", "with an empty horizon", "on an endless plain"),
        "buildings": ("in front of tall houses", "with buildings behind", "near some buildings"),
        "sea": ("with waves behind", "near the waves", "close to the water"),
    },
    "fence": {
        "yes": ("near a wooden fence", "in front of a fence", "by a fence", "with a fence behind"),
        "no": ("out in the open", "roaming free", "on open land"),
    },
    "setting": {
        "countryside": ("in the countryside", "on a farm", "in a rural landscape", "out in nature"),
        "street": ("in a city street", "in the town", "in the city", "downtown"),
        "room": ("in a room", "inside a house", "in a living room", "indoors"),
        "sea": ("by the sea", "at the ocean", "at the seaside"),
    },
    "species": {"none": ("with no animals around", "without any animals")},
    "object": {"none": ("with nobody around", "with nothing in sight")},
}
# The same facts where a place is described and nothing stands in it.
PLACE_MODIFIERS: dict[str, dict[str, tuple[str, ...]]] = {
    "ground": {
        "grass": ("with green grass", "with grass on the ground"),
        "snow": ("covered in snow", "with snow on the ground"),
        "sand": ("with sand all around", "with sand on the ground"),
        "road": ("with a paved road", "with a road of asphalt"),
        "floor": ("with a wooden floor", "with a floor of wooden boards"),
        "water": ("with calm water", "with waves on the water"),
    },
    "fence": {
        "yes": ("with a wooden fence", "behind a fence", "with a long fence"),
        "no": ("with open land all around", "out in the open"),
    },
}
SUBJECTS: dict[str, dict[str, tuple[str, ...]]] = {
    "ground": {
        "grass": ("a green meadow", "a grassy field", "a field of green grass"),
        "snow": ("a snowy field", "a field covered in snow", "snowy ground"),
        "sand": ("a sandy plain", "a stretch of sand"),
        "road": ("a paved road", "an asphalt road"),
        "floor": ("a wooden floor", "a floor of wooden boards"),
        "water": ("calm water", "open water"),
    },
    "background": {
        "mountain": ("tall mountains", "a row of mountains"),
        "hill": ("rolling hills", "low hills"),
        "forest": ("a forest", "a line of pine trees"),
        "none": ("a wide plain", "an endless plain"),
        "buildings": ("a row of tall houses", "some buildings"),
        "sea": ("a line of waves", "gentle waves"),
    },
    "setting": {
        "countryside": ("a rural landscape", "a view of the countryside", "a farm"),
        "street": ("a city street", "a street in the town", "a view of the city"),
        "room": ("a living room", "a room in a house"),
        "sea": ("a view of the sea", "the ocean", "a seaside view"),
    },
}
VIEWS = ("a quiet scene", "a picture", "a peaceful view", "a drawing")
OPENERS = ("a picture of", "a drawing of", "a scene with", "an image of")
RURAL_WORD = "field"  # a street has snow, yet no snowy field
