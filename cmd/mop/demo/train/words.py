"""The lexicon of the story grammar: plain tables, no logic.

Nouns are (singular, plural) pairs; the facts (which animal makes which sound,
what a shop sells, what one wears in which weather) are fixed, so that a model
has something to know and not only something to count.
"""

GIRLS = """Anna Bella Clara Daisy Emma Flora Greta Hanna Ida Jane Kate Lily Mia Nora Olive
Polly Rosa Sally Tina Una Vera Wendy Zoe Ruby Molly""".split()
BOYS = """Adam Ben Carl Dan Eric Finn George Henry Ivan Jack Karl Leo Max Ned Oscar Paul
Ralph Sam Tom Victor Will Peter Toby Hugo Felix""".split()
PET_NAMES = "Biscuit Pepper Button Shadow Ginger Muffin Patch Rusty Snowy Bramble Pickle Cocoa".split()

GROWN_WOMEN = ["mother", "grandmother", "aunt"]
GROWN_MEN = ["father", "grandfather", "uncle"]

# animal: (singular, plural, sound in the past, where it lives, what it eats)
ANIMALS = [
    ("dog", "dogs", "barked", "in a kennel", "bones"),
    ("cat", "cats", "purred", "by the fire", "fish"),
    ("horse", "horses", "neighed", "in a stable", "hay"),
    ("cow", "cows", "mooed", "in a barn", "grass"),
    ("duck", "ducks", "quacked", "on the pond", "bread"),
    ("owl", "owls", "hooted", "in a hollow tree", "mice"),
    ("frog", "frogs", "croaked", "in the reeds", "flies"),
    ("bee", "bees", "buzzed", "in a hive", "honey"),
    ("mouse", "mice", "squeaked", "in a hole", "cheese"),
    ("lion", "lions", "roared", "in a cave", "meat"),
    ("bird", "birds", "sang", "in a nest", "seeds"),
    ("sheep", "sheep", "bleated", "on the hill", "clover"),
    ("wolf", "wolves", "howled", "in the dark wood", "meat"),
    ("goose", "geese", "hissed", "in the yard", "corn"),
]
PETS = ["dog", "cat", "horse", "duck", "mouse"]

# things that can be held, hidden and found
TOYS = [
    ("ball", "balls"), ("kite", "kites"), ("drum", "drums"), ("doll", "dolls"), ("book", "books"),
    ("whistle", "whistles"), ("key", "keys"), ("ring", "rings"), ("spoon", "spoons"), ("lamp", "lamps"),
    ("map", "maps"), ("bell", "bells"), ("mirror", "mirrors"), ("brush", "brushes"), ("knife", "knives"),
    ("rope", "ropes"), ("candle", "candles"), ("puppet", "puppets"), ("watch", "watches"), ("letter", "letters"),
    ("flute", "flutes"), ("purse", "purses"), ("hammer", "hammers"), ("picture", "pictures"),
]
# things that can be counted, and whether they can be eaten
COUNTED = [
    ("apple", "apples", True), ("pear", "pears", True), ("plum", "plums", True), ("cherry", "cherries", True),
    ("cookie", "cookies", True), ("nut", "nuts", True), ("egg", "eggs", True), ("berry", "berries", True),
    ("carrot", "carrots", True), ("sweet", "sweets", True), ("shell", "shells", False), ("coin", "coins", False),
    ("marble", "marbles", False), ("feather", "feathers", False), ("leaf", "leaves", False),
    ("flower", "flowers", False), ("stone", "stones", False), ("button", "buttons", False),
    ("stamp", "stamps", False), ("card", "cards", False), ("pencil", "pencils", False), ("bead", "beads", False),
]
SCENERY = [
    ("tree", "trees"), ("house", "houses"), ("boat", "boats"), ("window", "windows"), ("gate", "gates"),
    ("chair", "chairs"), ("bench", "benches"), ("cart", "carts"), ("fence", "fences"), ("bush", "bushes"),
    ("tent", "tents"), ("wall", "walls"), ("bridge", "bridges"), ("roof", "roofs"), ("chimney", "chimneys"),
    ("baby", "babies"), ("child", "children"), ("farmer", "farmers"), ("teacher", "teachers"), ("lady", "ladies"),
]
COLOURS = "red blue green yellow white black brown pink purple orange grey silver golden".split()
ADJECTIVES = "old new small big shiny pretty heavy tiny broken lovely strange round wooden soft".split()
STATES = "clean dirty wet dry cold warm ready quiet safe empty strong weak beautiful ugly bright dark".split()
MOODS = "happy sad tired hungry angry proud brave shy glad thirsty sleepy calm afraid lonely merry curious".split()

# a preposition and the thing, said the same way after "put it" and after "it was"
SPOTS = [
    "in the box", "in the basket", "in the drawer", "in the cupboard", "in the bag", "in the chest", "in the jar",
    "in the bucket", "under the bed", "under the table", "under the blanket", "under the stairs", "under the stone",
    "behind the door", "behind the curtain", "behind the barn", "behind the stove", "behind the clock",
    "on the shelf", "on the chair", "on the window sill", "on the piano", "on the roof", "on the wall",
    "beside the well", "beside the gate", "beside the fire", "near the pond", "near the oak tree", "between the pillows",
]
PLACES = """the forest|the beach|the market|the park|the river|the farm|the school|the mill|the castle|the lake|
the harbour|the garden|the meadow|the village|the library|the station|the bakery|the mountain""".replace("\n", "").split("|")
HOMES = """a small house|a white cottage|an old mill|a tall tower|a little village|a town by the sea|a house on a hill|
a farmhouse|a wooden hut|a big city|a boat on the river|a castle""".replace("\n", "").split("|")

# shop: (who sells, things sold)
SHOPS = [
    ("baker", ["bread", "cake", "rolls", "pies"]),
    ("farmer", ["milk", "eggs", "butter", "cheese"]),
    ("gardener", ["roses", "tulips", "seeds", "lilies"]),
    ("fisherman", ["fish", "crabs", "shrimps", "eels"]),
    ("tailor", ["thread", "cloth", "wool", "ribbons"]),
    ("grocer", ["sugar", "flour", "salt", "tea"]),
    ("butcher", ["ham", "bacon", "sausages", "beef"]),
]
# weather: (how it is said, what one wears, what follows)
WEATHER = [
    ("It was raining", ["boots", "a raincoat"], ["the road was full of puddles", "the leaves were dripping"]),
    ("It was snowing", ["gloves", "a thick scarf"], ["the hills were white", "the pond was frozen"]),
    ("The sun was shining", ["a straw hat", "sandals"], ["the grass was warm", "the sky was blue"]),
    ("The wind was blowing", ["a warm coat", "a woollen cap"], ["the branches were bending", "the door was banging"]),
    ("There was a thick fog", ["a grey cloak", "a small lantern"], ["nobody could see the church", "the street was silent"]),
]
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
NUMBERS = """no one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen twenty""".split()
CLOTHES = [("hat", "hats"), ("scarf", "scarves"), ("coat", "coats"), ("dress", "dresses"), ("shirt", "shirts"),
           ("ribbon", "ribbons"), ("belt", "belts"), ("cap", "caps")]
GAMES = """played hide and seek|ran races|sang songs|told riddles|climbed trees|built a tower|drew pictures|
danced in a circle|flew kites|jumped over the brook""".replace("\n", "").split("|")
WISHES = """fly like a bird|swim across the lake|see the king|sail around the world|find a treasure|learn to read|
ride a horse|bake a cake|play the flute|count the stars""".replace("\n", "").split("|")
