package main

import (
	"fmt"
	"strings"
)

// scenes are what may happen in the middle of a story. Each ends in something
// that follows from what was said before, or from what is always so.
var scenes = []func(*teller) string{sums, together, shopping, race, counting, mood, weather, favourite, meal, walk, promise}

// sums: had, ate or found, now has.
func sums(t *teller) string {
	p, q := t.pair()
	food := one(t, foods)
	have := 2 + t.IntN(9)
	var s strings.Builder
	fmt.Fprintf(&s, " %s had %s.", capital(p.name), food.count(have))
	for range 1 + t.IntN(2) {
		if t.IntN(2) == 0 && have > 1 {
			k := 1 + t.IntN(min(have-1, 5))
			have -= k
			fmt.Fprintf(&s, " %s %s %s of them.", capital(p.he), one(t, []string{"ate", "lost", "gave " + q.name}), numbers[k])
		} else {
			k := 1 + t.IntN(5)
			have += k
			fmt.Fprintf(&s, " Then %s %s %s more.", p.he, one(t, []string{"found", "bought", "picked"}), numbers[k])
		}
		fmt.Fprintf(&s, " Now %s had %s.", p.he, food.count(have))
	}
	return s.String()
}

// together: two numbers, their sum, who has more.
func together(t *teller) string {
	p, q := t.pair()
	food := one(t, foods)
	n, m := 1+t.IntN(9), 1+t.IntN(9)
	more := p.name + " had more."
	switch {
	case n == m:
		more = "nobody had more."
	case n < m:
		more = q.name + " had more."
	}
	return fmt.Sprintf(" %s had %s and %s had %s. Together they had %s, and %s",
		capital(p.name), food.count(n), q.name, food.count(m), food.count(n+m), more)
}

// shopping: a list is said again, forwards or backwards.
func shopping(t *teller) string {
	p, q := t.pair()
	var names, back []string
	for _, f := range some(t, foods, 3+t.IntN(2)) {
		names = append(names, f.many)
		back = append([]string{f.many}, back...)
	}
	if t.IntN(2) == 0 {
		return fmt.Sprintf(" %s bought %s. At home %s gave %s the %s.", capital(p.name), list(names), p.he, q.name, list(names))
	}
	return fmt.Sprintf(" %s asked for %s. %s said it backwards: %s.", capital(p.name), list(names), capital(q.name), list(back))
}

// race: an order, and who is at one place of it.
func race(t *teller) string {
	order := t.Perm(len(t.people))
	var s []string
	for i, p := range order {
		s = append(s, t.people[p].name+" was "+ranks[i])
	}
	k := t.IntN(len(order))
	p := t.people[order[k]]
	return fmt.Sprintf(" They ran a race. %s. \"Who was %s?\" \"%s,\" said %s.", capital(list(s)), ranks[k], capital(p.name), t.people[order[(k+1)%len(order)]].name)
}

// counting: up or down, to a number that is said again.
func counting(t *teller) string {
	p, _ := t.pair()
	c := one(t, animals)
	n := 2 + t.IntN(8)
	if t.IntN(2) == 0 {
		return fmt.Sprintf(" %s counted the %s: %s. There were %s %s.", capital(p.name), c.many, strings.Join(numbers[1:n+1], ", "), numbers[n], c.many)
	}
	var down []string
	for k := n; k > 0; k-- {
		down = append(down, numbers[k])
	}
	return fmt.Sprintf(" %s counted down from %s: %s, and off %s ran.", capital(p.name), numbers[n], strings.Join(down, ", "), p.he)
}

// mood: a feeling, what one does then, and why.
func mood(t *teller) string {
	p, q := t.pair()
	f := one(t, feelings)
	return one(t, []string{
		fmt.Sprintf(" %s was %s and %s. %s asked %s why. \"Because %s,\" said %s.", capital(p.name), f.feeling, f.did, capital(q.name), p.him, f.because, p.name),
		fmt.Sprintf(" Because %s, %s was %s. %s %s until %s came.", f.because, p.name, f.feeling, capital(p.he), f.did, q.name),
		fmt.Sprintf(" %s saw that %s was %s and %s, so %s sat down beside %s.", capital(q.name), p.name, f.feeling, f.did, q.he, p.him),
	})
}

// weather: what is taken along.
func weather(t *teller) string {
	p, _ := t.pair()
	w := one(t, weathers)
	return fmt.Sprintf(" That day %s, so %s took %s along to %s.", w.weather, p.name, w.take, one(t, places))
}

// favourite: what a name always likes.
func favourite(t *teller) string {
	p, q := t.pair()
	if p.kind == "animal" {
		return meal(t)
	}
	f := factOf(p.name)
	return one(t, []string{
		fmt.Sprintf(" \"What do you like best?\" asked %s. \"I like %s best,\" said %s.", q.name, f.food.many, p.name),
		fmt.Sprintf(" %s had %s coat, for %s was the colour %s liked.", capital(p.name), a(f.colour), f.colour, p.he),
		fmt.Sprintf(" %s went home to %s and ate %s there, for %s was %s.", capital(p.name), f.home, f.food.many, p.he, f.trait),
	})
}

// meal: what an animal always says and eats.
func meal(t *teller) string {
	c := one(t, animals)
	p, _ := t.pair()
	if t.IntN(2) == 0 {
		return fmt.Sprintf(" They met %s %s. \"%s,\" said the %s, and %s gave it %s.", a(one(t, colours)), c.one, capital(c.sound), c.one, p.name, c.meal)
	}
	return fmt.Sprintf(" %s %s were near. %s gave them %s. \"%s, %s,\" said the %s.", capital(numbers[2+t.IntN(4)]), c.many, capital(p.name), c.meal, capital(c.sound), c.sound, c.many)
}

// walk: there and back.
func walk(t *teller) string {
	p, q := t.pair()
	way := some(t, places, 3)
	return one(t, []string{
		fmt.Sprintf(" They went from %s to %s and from %s to %s. Then they went back to %s and back to %s.", way[0], way[1], way[1], way[2], way[1], way[0]),
		fmt.Sprintf(" %s ran to %s. %s ran after %s, but %s was slower than %s.", capital(q.name), way[0], capital(p.name), q.him, p.he, q.name),
		fmt.Sprintf(" %s was in %s and %s was in %s. %s called, and %s came to %s.", capital(p.name), way[0], q.name, way[1], capital(p.name), q.name, way[0]),
	})
}

// promise: what one says of oneself is said again of him or her.
func promise(t *teller) string {
	p, q := t.pair()
	x := item{one(t, colours), one(t, things)}
	for x.thing == t.items[0].thing || x.thing == t.items[1].thing || x.thing == t.items[2].thing {
		x.thing = one(t, things) // those of the story are elsewhere
	}
	return one(t, []string{
		fmt.Sprintf(" \"I have %s,\" said %s. \"%s has %s,\" said %s.", a(x.String()), p.name, capital(p.name), a(x.String()), q.name),
		fmt.Sprintf(" \"I will give you my %s,\" said %s to %s. So %s gave %s %s %s.", x, p.name, q.name, p.he, q.name, p.his, x),
	})
}
