"""A grammar of little stories, for the demo model's training and tests.

Each story depends on its seed alone. It holds things a language model must
learn to predict well: agreement (she/he/they with its verb forms and names),
memory (a thing is put in a place early and found there later), and small
arithmetic (had three, ate one, two were left). Splits use disjoint seeds, and
write() refuses a story that occurs in two splits.

    python stories.py OUT      writes calibration.jsonl windows.txt evaluation.txt questions.jsonl
"""
import json
import random
import sys

GIRLS = "Anna Lily Mia Rose Emma Sara Nora Ella Ruth Clara Ivy June".split()
BOYS = "Tom Ben Max Sam Leo Jack Finn Hugo Paul Adam Noah Carl".split()
ANIMALS = "dog cat fox bear hen duck goat mouse owl frog pony rabbit".split()
TRAITS = "kind brave shy clever small old happy quiet funny gentle proud curious".split()
PLACES = ["the barn", "the kitchen", "the garden", "the shed", "the attic", "the school", "the boat", "the tower", "the cellar", "the meadow"]
SPOTS = ["under the bed", "behind the door", "in the blue box", "on the shelf", "in the basket", "under the old tree", "beside the well", "inside the drawer", "on top of the wall", "in the hollow log"]
THINGS = "key ball hat lamp drum kite ring book spoon bell coin scarf".split()
COLOURS = "red green yellow white black brown silver golden pink grey".split()
FOODS = [("apple", "apples"), ("cake", "cakes"), ("plum", "plums"), ("cherry", "cherries"), ("nut", "nuts"), ("egg", "eggs"), ("pear", "pears"), ("cookie", "cookies"), ("berry", "berries"), ("carrot", "carrots")]
TIMES = ["One day", "One morning", "Early in the spring", "On a cold evening", "After lunch", "Last summer", "On a windy day", "When the sun was high"]
NUMBERS = "no one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
FEELINGS = [("sad", "cried"), ("happy", "laughed"), ("angry", "stamped"), ("tired", "yawned"), ("afraid", "hid"), ("proud", "sang")]
WEATHER = ["the rain fell", "the wind blew", "the sun was warm", "snow lay on the ground", "the sky was dark", "the birds sang"]


def count(n, food):
    return f"{NUMBERS[n]} {food[0] if n == 1 else food[1]}"


def article(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


class Cast:
    """Who is in a story: a child and a friend, each with a name and pronouns."""

    def __init__(self, r):
        self.child = self.person(r)
        self.friend = self.person(r)
        while self.friend["name"] == self.child["name"]:
            self.friend = self.person(r)

    @staticmethod
    def person(r):
        if r.random() < 0.25:
            a = r.choice(ANIMALS)
            return {"name": f"the {a}", "he": "it", "his": "its", "him": "it", "kind": "animal"}
        if r.random() < 0.5:
            return {"name": r.choice(GIRLS), "he": "she", "his": "her", "him": "her", "kind": "girl"}
        return {"name": r.choice(BOYS), "he": "he", "his": "his", "him": "him", "kind": "boy"}


def cap(s):
    return s[0].upper() + s[1:]


def opening(r, c):
    a, t = c.child, r.choice(TRAITS)
    who = a["name"] if a["kind"] == "animal" else f"{article(t)} {a['kind']} named {a['name']}"
    s = r.choice([
        f"{r.choice(TIMES)}, {who} went to {r.choice(PLACES)}.",
        f"Once upon a time there was {who if a['kind'] != 'animal' else 'an animal, ' + who}. {cap(a['he'])} lived near {r.choice(PLACES)}.",
        f"{r.choice(TIMES)}, {r.choice(WEATHER)} and {who} sat in {r.choice(PLACES)}.",
    ])
    if r.random() < 0.6:
        s += r.choice([
            f" {cap(a['his'])} best friend was {c.friend['name']}.",
            f" {cap(c.friend['name'])} was there too, and {a['name']} was glad to see {c.friend['him']}.",
            f" {cap(a['he'])} was waiting for {c.friend['name']}.",
        ])
    return s


def hide(r, c):
    """Memory: the thing, its colour and its spot come back at the end."""
    a, b = c.child, c.friend
    thing, colour, spot = f"{r.choice(THINGS)}", r.choice(COLOURS), r.choice(SPOTS)
    first = r.choice([
        f" {cap(a['name'])} had a {colour} {thing}. {cap(a['he'])} put the {thing} {spot}.",
        f" {cap(b['name'])} gave {a['name']} a {colour} {thing}, and {a['he']} hid it {spot}.",
        f" {cap(a['he'])} left {a['his']} {colour} {thing} {spot} and went away.",
    ])
    last = r.choice([
        f" \"Where is my {thing}?\" asked {a['name']}. Then {a['he']} remembered. {cap(a['he'])} looked {spot}, and there was the {colour} {thing}.",
        f" {cap(b['name'])} wanted to see the {colour} {thing}. So {a['name']} went to look {spot} and brought the {thing} to {b['him']}.",
        f" In the evening {a['name']} found the {colour} {thing} {spot}.",
    ])
    return first, last


def sums(r, c):
    a, b = c.child, c.friend
    food = r.choice(FOODS)
    n = r.randint(2, 12)
    if r.random() < 0.5:
        k = r.randint(1, min(n - 1, 6))
        verb = r.choice(["ate", "lost", f"gave {b['name']}"])
        return (f" {cap(a['name'])} had {count(n, food)}. {cap(a['he'])} {verb} {NUMBERS[k]} of them."
                f" Now {a['he']} had {count(n - k, food)}.")
    k = r.randint(1, 8)
    verb = r.choice(["found", "bought", "picked"])
    return (f" {cap(a['name'])} had {count(n, food)}. Then {a['he']} {verb} {NUMBERS[k]} more."
            f" Now {a['he']} had {count(n + k, food)}.")


def mood(r, c):
    a, b = c.child, c.friend
    f, did = r.choice(FEELINGS)
    return r.choice([
        f" {cap(b['name'])} was {f} and {did}. {cap(a['name'])} asked {b['him']} why {b['he']} was {f}.",
        f" Because {r.choice(WEATHER)}, {a['name']} was {f}. {cap(a['he'])} {did} until {b['name']} came.",
        f" {cap(a['name'])} and {b['name']} were {f}. They {did} together, and {r.choice(WEATHER)}.",
        f" \"I am {f},\" said {a['name']}. \"Do not be {f},\" said {b['name']}, and {b['he']} held {a['his']} hand." if a["kind"] != "animal" and b["kind"] != "animal"
        else f" {cap(a['name'])} saw that {b['name']} was {f}, so {a['he']} sat down beside {b['him']}.",
    ])


def walk(r, c):
    a, b = c.child, c.friend
    p, q = r.sample(PLACES, 2)
    animal = r.choice(ANIMALS)
    return r.choice([
        f" They walked from {p} to {q}, where {r.choice(TRAITS)} {animal}s were playing. The {animal}s were not afraid of them.",
        f" On the way to {p}, {a['name']} met a {r.choice(COLOURS)} {animal}. The {animal} was {r.choice(TRAITS)} and followed {a['him']} to {q}.",
        f" {cap(b['name'])} ran to {p}. {cap(a['name'])} ran after {b['him']}, but {a['he']} was slower than {b['name']}.",
    ])


def ending(r, c):
    a, b = c.child, c.friend
    return r.choice([
        f" At last {a['name']} went home and told {a['his']} mother about {b['name']}.",
        f" {cap(a['name'])} thanked {b['name']}, and {b['he']} smiled.",
        " They were friends from that day on.",
        f" That night {a['name']} slept well, for {a['he']} was {r.choice(TRAITS)} and {r.choice(['tired', 'happy'])}.",
        " The end.",
    ])


def story(seed):
    r = random.Random(f"mop story {seed}")
    c = Cast(r)
    first, last = hide(r, c)
    middle = [first]
    for _ in range(r.randint(1, 4)):
        middle.append(r.choice([sums, mood, walk])(r, c))
    return opening(r, c) + "".join(middle) + last + (ending(r, c) if r.random() < 0.8 else "")


def question(seed):
    """A query with choices, exactly one right: agreement, memory, arithmetic."""
    r = random.Random(f"mop question {seed}")
    c = Cast(r)
    a = c.child
    kind = ("agreement", "memory", "arithmetic")[seed % 3]
    text = opening(r, c)
    if kind == "agreement":
        thing, colour = r.choice(THINGS), r.choice(COLOURS)
        query = f"{text} {cap(a['name'])} had a {colour} {thing}."
        right, rest = cap(a["he"]), [cap(x) for x in ("he", "she", "it") if x != a["he"]]
        choices = [f" {p} put the {thing} {SPOTS[0]}." for p in [right] + rest]
    elif kind == "memory":
        thing, colour = r.choice(THINGS), r.choice(COLOURS)
        spots = r.sample(SPOTS, 4)
        query = (f"{text} {cap(a['name'])} had a {colour} {thing}. {cap(a['he'])} put the {thing} {spots[0]}."
                 f"{walk(r, c)} In the evening {a['name']} found the {colour} {thing}")
        choices = [f" {s}." for s in spots]
    else:
        food, n = r.choice(FOODS), r.randint(3, 10)
        k = r.randint(1, min(n - 2, 5))
        query = f"{text} {cap(a['name'])} had {count(n, food)}. {cap(a['he'])} ate {NUMBERS[k]} of them. Now {a['he']} had"
        wrong = r.sample([x for x in range(1, 13) if x != n - k], 3)
        choices = [f" {count(x, food)}." for x in [n - k] + wrong]
    order = list(range(len(choices)))
    r.shuffle(order)
    return {"kind": kind, "query": query, "choices": [choices[i] for i in order], "gold": order.index(0)}


# Disjoint seeds.
TRAIN, CALIBRATION, WINDOWS, EVALUATION, QUESTIONS, RECOVERY = 0, 10_000_000, 20_000_000, 30_000_000, 40_000_000, 50_000_000


def take(first, n, seen):
    """n stories from seed first on, none of which is in seen; adds them to it."""
    out = []
    seed = first
    while len(out) < n:
        s = story(seed)
        seed += 1
        if s not in seen:
            seen.add(s)
            out.append(s)
    return out


def splits():
    """The held-out splits, and the set of their stories, which training avoids."""
    seen = set()
    return {"evaluation": take(EVALUATION, 220, seen), "windows": take(WINDOWS, 130, seen), "calibration": take(CALIBRATION, 160, seen)}, seen


def write(out):
    held, seen = splits()
    held["recovery"] = take(RECOVERY, 640, seen)  # what a pruned model is trained on
    sep = "\n<|endoftext|>\n"
    for name in ("evaluation", "windows", "recovery"):
        with open(f"{out}/{name}.txt", "w") as f:
            f.write(sep.join(held[name]) + "\n")
    with open(f"{out}/calibration.jsonl", "w") as f:
        for s in held["calibration"]:
            f.write(json.dumps({"text": s}) + "\n")
    with open(f"{out}/questions.jsonl", "w") as f:
        for i in range(300):
            f.write(json.dumps(question(QUESTIONS + i)) + "\n")


if __name__ == "__main__":
    write(sys.argv[1])
