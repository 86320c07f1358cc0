"""A grammar of small stories, with questions whose answers are known.

    python stories.py --kind story --seed 7 --count 3
    python stories.py --kind question --seed 7 --count 3

Standard library only. A story is decided by (stream, seed, index) alone: the
same three give the same bytes. Three things in it can be checked:

agreement   verb, pronoun and determiner follow their noun or person, past
            nouns of the other number that stand between
memory      where a thing was put (the last time), whose is the blue one, what
            the pet is called, what was bought: said early, needed late
arithmetic  sums and differences up to twenty, in words

A decided word is written into the text as a probe, `{kind|gold|other|...}`.
Rendering drops the markers; a question cuts the story just before a probe.
"""

import argparse
import hashlib
import json
import random
import re

import words as w

PROBE = re.compile(r"\{([a-z]+)\|([^}]*)\}")
KINDS = ("agreement", "memory", "arithmetic")


class Person:
    def __init__(self, name, girl):
        self.name = name
        self.girl = girl
        self.he, self.him, self.his = ("she", "her", "her") if girl else ("he", "him", "his")
        self.self = "herself" if girl else "himself"
        self.kind = "girl" if girl else "boy"


def cap(s):
    """Capitalise the first letter, past a quotation mark or a probe's marker."""
    if s.startswith("{"):
        head, rest = s.split("|", 1)
        return head + "|" + "|".join(cap(p) for p in rest[: rest.index("}")].split("|")) + rest[rest.index("}"):]
    i = 1 if s.startswith('"') else 0
    return s[:i] + s[i:i + 1].upper() + s[i + 1:]


def a(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def listing(items):
    return ", ".join(items[:-1]) + " and " + items[-1]


def count(n, noun):
    return f"{w.NUMBERS[n]} {noun[0] if n == 1 else noun[1]}"


class Story:
    """One story under construction; its people, its sentences, what is owed later."""

    def __init__(self, rng):
        self.r = rng
        self.text = []
        self.later = []      # closures that must run after something else was told
        self.used = set()    # nouns and places already taken, so that none is ambiguous
        names = [Person(n, True) for n in rng.sample(w.GIRLS, 2)] + [Person(n, False) for n in rng.sample(w.BOYS, 2)]
        rng.shuffle(names)
        self.p, self.q, self.stranger = names[:3]
        self.pet = None

    # --- choosing -------------------------------------------------------
    def pick(self, *options):
        return self.r.choice(options)

    def fresh(self, table):
        """An entry of the table that this story has not used."""
        for _ in range(50):
            e = self.r.choice(table)
            key = e[0] if isinstance(e, tuple) else e
            if key not in self.used:
                self.used.add(key)
                return e
        return e

    def say(self, *options):
        self.text.append(cap(self.r.choice(options)))

    def chance(self, p):
        return self.r.random() < p

    # --- probes ---------------------------------------------------------
    def agree(self, plural, singular_word, plural_word):
        gold, other = (plural_word, singular_word) if plural else (singular_word, plural_word)
        return "{agreement|%s|%s}" % (gold, other)

    def was(self, plural):
        return self.agree(plural, "was", "were")

    def pron(self, p, form):
        """he/him/his/himself of a person, as a probe."""
        pair = {"he": ("she", "he"), "him": ("her", "him"), "his": ("her", "his"), "self": ("herself", "himself")}[form]
        return "{agreement|%s|%s}" % (pair if p.girl else pair[::-1])

    def recall(self, gold, others):
        others = [o for o in dict.fromkeys(others) if o != gold][:3]
        return "{memory|%s}" % "|".join([gold] + others)

    def number(self, n):
        near = [m for m in (n - 1, n + 1, n - 2, n + 2, n + 3) if 1 <= m <= 20]
        return "{arithmetic|%s}" % "|".join(w.NUMBERS[m] for m in [n] + near[:3])

    def total(self, n, noun):
        return f"{self.number(n)} {noun[0] if n == 1 else noun[1]}"

    # --- the parts of a story -------------------------------------------
    def opening(self):
        p, q, r = self.p, self.q, self.r
        home = r.choice(w.HOMES)
        self.say(
            f"Once upon a time there was a {p.kind} called {p.name}.",
            f"There once was a {p.kind} whose name was {p.name}.",
            f"{p.name} was a {self.pick('little', 'clever', 'brave', 'young', 'kind')} {p.kind}.",
            f"Long ago a {p.kind} called {p.name} lived in {home}.",
            f"In {home} there lived a {p.kind} called {p.name}.",
        )
        rel = "sister" if q.girl else "brother"
        friend = self.pick(rel, "friend", "cousin")
        self.say(
            f"{self.pron(p, 'his')} {friend} was called {q.name}.",
            f"{self.pron(p, 'he')} had a {friend} called {q.name}.",
            f"{self.pron(p, 'he')} and {self.pron(p, 'his')} {friend} {q.name} {self.was(True)} always together.",
            f"{q.name} was {self.pron(p, 'his')} {friend}.",
        )
        if self.chance(0.4):
            kind, name = r.choice(w.PETS), r.choice(w.PET_NAMES)
            self.pet = name
            self.used.add(kind)
            self.say(f"They had {a(kind)} called {name}.", f"{p.name} owned {a(r.choice(w.COLOURS) + ' ' + kind)}, and its name was {name}.")
            others = r.sample([n for n in w.PET_NAMES if n != name], 2) + [self.stranger.name]
            self.later.append(lambda: self.say(
                f"Then the {kind} ran away. \"Come back, {self.recall(name, others)}!\" called {p.name}.",
                f"\"What is the name of your {kind}?\" asked an old man. \"It is {self.recall(name, others)},\" said {q.name}.",
                f"{q.name} patted the {kind} and said, \"Good {kind}, {self.recall(name, others)}!\"",
            ))

    def weather(self):
        how, wear, after = self.r.choice(w.WEATHER)
        x = self.pick(self.p, self.q)
        thing, then = self.r.choice(wear), self.r.choice(after)
        when = self.pick(f"On {self.r.choice(w.DAYS)}", "One morning", "That day", "In the afternoon")
        how = how[0].lower() + how[1:]
        self.say(
            f"{when} {how}, so {x.name} put on {thing}.",
            f"{when} {how}, and {then}.",
            f"{when} {how}. {x.name} took {thing}, because {then}.",
        )

    def hide(self):
        """A thing is put somewhere, may be moved, and is looked for at the end."""
        r = self.r
        x, y = r.sample([self.p, self.q], 2)
        toy = self.fresh(w.TOYS)
        many = self.chance(0.3)
        thing = toy[1] if many else toy[0]
        it = "them" if many else "it"
        full = f"{r.choice(w.COLOURS + w.ADJECTIVES)} {thing}"
        spot, other, third = self.fresh(w.SPOTS), self.fresh(w.SPOTS), self.fresh(w.SPOTS)
        self.say(
            f"{x.name} put {x.his} {full} {spot}.",
            f"{self.pick('First', 'Before breakfast', 'After lunch', 'Early in the day')} {x.name} hid {x.his} {full} {spot}.",
            f"{x.name} had {'some ' + full if many else a(full)} and left {it} {spot}.",
        )
        mentioned = [spot]
        if self.chance(0.5):
            toy2 = self.fresh(w.TOYS)
            self.say(f"{y.name} put {y.his} {toy2[0]} {other}.", f"But {y.name} kept {a(toy2[0])} {other}.", f"{y.name} laid {a(toy2[0])} {other}, too.")
            mentioned.append(other)
            if self.chance(0.4):
                where2 = self.recall(other, [spot, third] + r.sample(w.SPOTS, 1))
                self.later.append(lambda: self.say(
                    f"The {toy2[0]} was still {where2}.",
                    f"{y.name} went to get the {toy2[0]}, which was {where2}.",
                ))
        if self.chance(0.35):
            self.say(
                f"Then {y.name} took the {thing} and put {it} {third}.",
                f"Later {y.name} moved the {thing} and hid {it} {third}.",
            )
            mentioned.append(third)
        gold = mentioned[-1] if mentioned[-1] == third else spot
        where = self.recall(gold, [m for m in mentioned if m != gold] + r.sample(w.SPOTS, 3))
        they = "they" if many else "it"
        self.later.append(lambda: self.say(
            f"In the evening {x.name} looked for {self.pron(x, 'his')} {thing}. {cap(they)} {self.was(many)} {where}.",
            f"\"Where {self.agree(many, 'is', 'are')} my {thing}?\" asked {x.name}. \"Look {where},\" said {y.name}.",
            f"{x.name} wanted {x.his} {thing}, so {self.pron(x, 'he')} looked {where} and found {it}.",
            f"When {x.name} needed the {thing}, {they} {self.was(many)} {where}.",
            f"At last {y.name} asked about the {full}. {x.name} said that {they} {self.was(many)} {where}.",
        ))

    def counting(self):
        r = self.r
        x, y = r.sample([self.p, self.q], 2)
        one, many, eat = self.fresh(w.COUNTED)
        noun = (one, many)
        form = r.randrange(6)
        if form == 0:    # take away
            n = r.randint(2, 20)
            m = r.randint(1, min(n - 1, 9))
            verb = self.pick("ate", "ate") if eat and self.chance(0.6) else self.pick("lost", "sold", "dropped")
            self.say(f"{x.name} had {count(n, noun)}.", f"In {x.his} bag {x.name} had {count(n, noun)}.", f"{x.name} picked up {count(n, noun)}.")
            if self.chance(0.5):
                self.say(f"{x.he} {verb} {count(m, noun)}, so {x.he} had {self.total(n - m, noun)} left.",
                         f"{x.he} {verb} {w.NUMBERS[m]} of them, and then {self.number(n - m)} {self.was(n - m > 1)} left.")
            else:
                self.say(f"{x.he} gave {count(m, noun)} to {y.name} and kept {self.total(n - m, noun)}.",
                         f"{x.he} gave {y.name} {w.NUMBERS[m]} of them. Now {x.name} had {self.total(n - m, noun)}.")
        elif form == 1:  # add
            n = r.randint(1, 12)
            m = r.randint(1, min(9, 20 - n))
            self.say(f"{x.name} had {count(n, noun)} and found {w.NUMBERS[m]} more. Now {x.he} had {self.total(n + m, noun)}.",
                     f"First {x.name} found {count(n, noun)}. Then {x.he} found {count(m, noun)}, so {x.he} had {self.number(n + m)}.",
                     f"{x.name} owned {count(n, noun)}. {y.name} gave {x.him} {w.NUMBERS[m]} more, and that made {self.number(n + m)}.")
        elif form == 2:  # together
            n, m = r.randint(2, 10), r.randint(1, 10)
            self.say(f"{x.name} had {count(n, noun)} and {y.name} had {count(m, noun)}. Together they had {self.total(n + m, noun)}.",
                     f"{x.name} brought {count(n, noun)}, and {y.name} brought {w.NUMBERS[m]}. They counted {self.total(n + m, noun)}.",
                     f"There were {count(n, noun)} on the table and {count(m, noun)} on the floor. That made {self.number(n + m)} in all.")
        elif form == 3:  # more and fewer
            n = r.randint(2, 14)
            m = r.randint(1, min(5, n - 1))
            if self.chance(0.5):
                self.say(f"{x.name} had {count(n, noun)}. {y.name} had {w.NUMBERS[m]} more, which was {self.total(n + m, noun)}.")
            else:
                self.say(f"{x.name} had {count(n, noun)}. {y.name} had {w.NUMBERS[m]} fewer, which was {self.total(n - m, noun)}.")
        elif form == 4:  # two steps
            n = r.randint(4, 14)
            m = r.randint(1, min(4, n - 2))
            k = r.randint(1, 5)
            verb = "ate" if eat else "lost"
            self.say(f"{x.name} had {count(n, noun)}. {x.he.capitalize()} {verb} {w.NUMBERS[m]}, so {self.number(n - m)} {self.was(n - m > 1)} left. "
                     f"Then {x.he} found {w.NUMBERS[k]} more and had {self.number(n - m + k)}.")
        else:            # remembered number
            n = r.randint(2, 12)
            gold = self.recall(w.NUMBERS[n], [w.NUMBERS[m] for m in r.sample(range(1, 13), 4) if m != n])
            self.say(f"{x.name} counted {count(n, noun)} on the way.", f"On the road {x.name} saw {count(n, noun)}.")
            self.later.append(lambda: self.say(
                f"\"How many {many} did you see?\" asked {y.name}. \"I saw {gold},\" said {x.name}.",
                f"{x.name} told {y.name} about the {gold} {many}."))

    def scene(self):
        """Agreement over nouns that stand between subject and verb."""
        r = self.r
        n1, n2 = self.fresh(w.SCENERY), self.fresh(w.SCENERY)
        many, other = self.chance(0.5), self.chance(0.5)
        s, o = n1[many], n2[other]
        st, st2 = r.sample(w.STATES, 2)
        x = self.pick(self.p, self.q)
        self.say(
            f"The {s} {self.pick('near', 'behind', 'beside')} the {o} {self.was(many)} {st}.",
            f"The {s} that {x.name} saw from the {o} {self.was(many)} {st} and {st2}.",
            f"There {self.was(many)} {'some ' + st + ' ' + s if many else a(st + ' ' + s)} near the {o}.",
            f"One of the {n1[1]} {self.was(False)} {st}, but the others {self.was(True)} {st2}.",
            f"\"{self.pick('Look', 'Oh')}, {self.agree(many, 'this', 'these')} {s} {self.agree(many, 'is', 'are')} very {st},\" said {x.name}.",
            f"Both {n1[1]} {self.was(True)} {st}, and the {n2[0]} {self.was(False)} {st2}.",
            f"Every {n1[0]} beside the {n2[1]} {self.was(False)} {st}.",
        )

    def feeling(self):
        r = self.r
        x, y = r.sample([self.p, self.q], 2)
        m, m2 = r.sample(w.MOODS, 2)
        self.say(
            f"{x.name} was {m}, but {y.name} was {m2}.",
            f"{x.name} said that {self.pron(x, 'he')} was {m}.",
            f"{x.name} and {y.name} {self.was(True)} {m}.",
            f"{x.name} looked at {self.pron(x, 'self')} in the water and felt {m}.",
            f"{y.name} asked {x.name} why {x.he} was {m}. \"I want to {r.choice(w.WISHES)},\" {self.pron(x, 'he')} said.",
            f"{x.name} told {y.name} that {x.he} wanted to {r.choice(w.WISHES)}.",
            f"{x.name} washed {self.pron(x, 'his')} hands and dried {self.pron(x, 'self')}.",
        )

    def animals(self):
        r = self.r
        one, many, sound, home, food = self.fresh(w.ANIMALS)
        plural = self.chance(0.5)
        x = self.pick(self.p, self.q)
        s = many if plural else one
        the = f"the {r.choice(w.COLOURS)} {s}"
        self.say(
            f"{the} {sound} {self.pick('loudly', 'softly', 'all night', 'at the moon', 'with joy')}.",
            f"{x.name} fed {the} with {food}.",
            f"\"{cap(the)} {self.agree(plural, 'lives', 'live')} {home},\" said {x.name}. \"{self.agree(plural, 'It', 'They')} {self.agree(plural, 'likes', 'like')} {food}.\"",
            f"{the} that lived {home} {self.was(plural)} {r.choice(w.MOODS)} and {sound}.",
            f"{x.name} heard {the}. {self.agree(plural, 'It', 'They')} {sound}, and {x.name} gave {'them' if plural else 'it'} {food}.",
        )

    def clothes(self):
        """Whose is which colour; asked at the end."""
        r = self.r
        x, y = r.sample([self.p, self.q], 2)
        one, _ = self.fresh(w.CLOTHES)
        c1, c2 = r.sample(w.COLOURS, 2)
        self.say(f"{x.name} wore {a(c1)} {one} and {y.name} wore {a(c2)} {one}.",
                 f"{x.name}'s {one} was {c1}, but {y.name}'s {one} was {c2}.",
                 f"{self.pick('Grandmother', 'The tailor', 'Father')} made {a(c1)} {one} for {x.name} and {a(c2)} one for {y.name}.")
        z, c = r.choice([(x, c1), (y, c2)])
        o = y if z is x else x
        who = self.recall(z.name, [o.name, self.stranger.name])
        col = self.recall(c, [c2 if c == c1 else c1] + r.sample(w.COLOURS, 3))
        self.later.append(lambda: self.say(
            f"\"Whose {one} is {c}?\" asked the teacher. \"It belongs to {who},\" said {o.name}.",
            f"The wind carried a {one} away. It was {c}, so it belonged to {who}.",
            f"{z.name} took off {self.pron(z, 'his')} {col} {one}.",
            f"\"I like your {col} {one}, {z.name},\" said {o.name}."))

    def shop(self):
        r = self.r
        who, goods = r.choice(w.SHOPS)
        who2, goods2 = r.choice([s for s in w.SHOPS if s[0] != who])
        if who in self.used:
            return self.scene()
        self.used.add(who)
        x, y = r.sample([self.p, self.q], 2)
        g = r.sample(goods, 2)
        h = r.choice(goods2)
        day = r.choice(w.DAYS)
        items = g if self.chance(0.5) else g[:1] + [h] + g[1:]
        self.say(f"On {day} {x.name} went to the {who} and bought {listing(g)}.",
                 f"The {who} sold {x.name} some {listing(g)}.",
                 f"{x.name} needed {listing(g)}, so {x.he} visited the {who} on {day}.")
        if len(items) == 3:
            self.say(f"{x.he} also got some {h} from the {who2}.", f"From the {who2} {x.he} brought {h}.")
        wrong = r.sample([i for s in w.SHOPS for i in s[1] if i not in items], 3)
        k = r.randrange(len(g))
        self.later.append(lambda: self.say(
            f"At home {x.name} unpacked the {self.recall(g[0], wrong)} and the {self.recall(g[1], wrong[::-1])}.",
            f"\"What did the {who} sell you?\" asked {y.name}. \"Some {self.recall(g[k], [h] + wrong)},\" said {x.name}.",
            f"{y.name} put the {self.recall(g[k], [h] + wrong)} from the {who} on the table."))

    def journey(self):
        r = self.r
        x, y = r.sample([self.p, self.q], 2)
        place, place2 = self.fresh(w.PLACES), self.fresh(w.PLACES)
        adult, woman = r.choice([(n, True) for n in w.GROWN_WOMEN] + [(n, False) for n in w.GROWN_MEN])
        g = Person(adult, woman)
        self.say(
            f"{x.name} and {y.name} walked to {place}, where they {r.choice(w.GAMES)}.",
            f"{x.his} {adult} took {x.name} to {place}. {cap(self.pron(g, 'he'))} {self.pick('carried a lamp', 'told a story', 'sang a song', 'walked slowly')}.",
            f"After that they left {place2} and went to {place}.",
            f"On the way to {place}, {x.name} met {x.his} {adult}. \"{self.pick('Good morning', 'Hello', 'Be careful')},\" {self.pron(g, 'he')} said.",
            f"They {r.choice(w.GAMES)} near {place} until {self.pick('noon', 'night', 'the bell rang', 'the sun went down')}.",
        )
        if self.chance(0.3):
            self.later.append(lambda: self.say(
                f"{x.name} {self.agree(False, 'was', 'were')} glad that {self.pron(x, 'he')} had gone there with {self.recall(y.name, [self.stranger.name, r.choice(w.GIRLS + w.BOYS)])}."))

    def closing(self):
        p, q = self.p, self.q
        day = self.pick("day", "week", "summer", "adventure", "evening")
        self.say(
            f"That night {p.name} and {q.name} slept well.",
            f"\"What a {self.pick('good', 'fine', 'long', 'strange', 'lovely')} {day},\" said {self.recall(q.name, [self.stranger.name])}, and {self.pron(q, 'he')} smiled.",
            f"Then {p.name} went home, and {self.pron(p, 'his')} {self.pick('mother', 'father')} kissed {self.pron(p, 'him')} good night.",
            f"So {p.name} and {self.recall(q.name, [self.stranger.name])} {self.was(True)} {self.pick('friends', 'happy', 'together')} again.",
            f"And {p.name} never forgot that {day}.",
        )

    def build(self):
        r = self.r
        self.opening()
        parts = [self.weather, self.hide, self.counting, self.scene, self.feeling, self.animals, self.clothes, self.shop, self.journey]
        weights = [2, 5, 5, 3, 3, 2, 2, 3, 3]
        for _ in range(r.randint(3, 6)):
            r.choices(parts, weights)[0]()
            if self.later and self.chance(0.25) and len(self.text) > 4:
                self.later.pop(0)()
        r.shuffle(self.later)
        while self.later:
            self.later.pop()()
        self.closing()
        return " ".join(self.text)


def marked(stream, seed, index):
    """The story with its probes still marked. Stream names keep uses apart."""
    key = hashlib.sha256(f"{stream}/{seed}/{index}".encode()).digest()
    return Story(random.Random(int.from_bytes(key[:16], "big"))).build()


def plain(text):
    return PROBE.sub(lambda m: m.group(2).split("|")[0], text)


def story(stream, seed, index):
    return plain(marked(stream, seed, index))


NAME = re.compile(r"\b(" + "|".join(w.GIRLS + w.BOYS + w.PET_NAMES) + r")\b")


def exact_key(text):
    return hashlib.blake2b(text.encode(), digest_size=12).digest()


def body_key(text):
    """Key of the story with names numbered by appearance, case and punctuation dropped."""
    seen = {}
    t = NAME.sub(lambda m: "n%d" % seen.setdefault(m.group(1), len(seen)), text)
    return hashlib.blake2b(" ".join(re.findall(r"[a-z0-9]+", t.lower())).encode(), digest_size=12).digest()


class Register:
    """Admits each story once, by its bytes and by its body, over all uses."""

    def __init__(self):
        self.keys = set()

    def admit(self, text):
        e, b = exact_key(text), body_key(text)
        if e in self.keys or b in self.keys:
            return False
        self.keys.update((e, b))
        return True

    def holds(self, text):
        return exact_key(text) in self.keys or body_key(text) in self.keys


def stories(stream, seed, register):
    """Endless distinct stories."""
    index = 0
    while True:
        text = story(stream, seed, index)
        index += 1
        if register.admit(text):
            yield text


def questions(seed, per_kind, register):
    """Stories cut before one probe: (row, whole story). A choice follows its query after one space."""
    need = {k: per_kind for k in KINDS}
    index = 0
    while any(need.values()):
        text = marked("question", seed, index)
        r = random.Random(int.from_bytes(hashlib.sha256(f"pick/{seed}/{index}".encode()).digest()[:16], "big"))
        index += 1
        kind = max(KINDS, key=lambda k: need[k])
        probes = [m for m in PROBE.finditer(text) if m.group(1) == kind and text[m.start() - 1] == " " and m.start() > 80]
        if kind == "memory":  # a choice of two is a guess
            probes = [m for m in probes if m.group(2).count("|") >= 2]
        if not probes:
            continue
        m = r.choice(probes)
        whole = plain(text)
        if not register.admit(whole):
            continue
        options = m.group(2).split("|")
        gold = options[0]
        assert len(set(options)) == len(options), options
        r.shuffle(options)
        need[kind] -= 1
        yield {"kind": kind, "query": plain(text[:m.start()]).rstrip(), "choices": options, "gold": options.index(gold)}, whole


def main():
    ap = argparse.ArgumentParser(description="print stories or questions")
    ap.add_argument("--kind", choices=["story", "question"], default="story")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--count", type=int, default=3, help="stories, or questions of each kind")
    args = ap.parse_args()
    if args.kind == "question":
        for row, _ in questions(args.seed, args.count, Register()):
            print(json.dumps(row))
        return
    source = stories("print", args.seed, Register())
    for _ in range(args.count):
        print(next(source))


if __name__ == "__main__":
    main()
