package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// teller writes one story, whose random choices depend only on the story's seed.
type teller struct {
	*rand.Rand
	people [3]person
	items  [3]item
	at     [3]string // where each item is
	owner  [3]int    // whose it is
}

// newTeller chooses at random who and what a story is about.
func newTeller(seed uint64) *teller {
	t := &teller{Rand: rand.New(rand.NewPCG(seed, 0x73746f7279))}
	for i := range t.people {
		for t.people[i].name == "" || i > 0 && t.people[i] == t.people[0] || i > 1 && t.people[i] == t.people[1] {
			t.people[i] = t.person()
		}
	}
	spots := some(t, spots, len(t.at))
	for i, thing := range some(t, things, len(t.items)) {
		t.items[i] = item{one(t, colours), thing}
		t.at[i], t.owner[i] = spots[i], t.IntN(2)
	}
	return t
}

func (t *teller) person() person {
	switch n := t.IntN(8); {
	case n < 2:
		return person{"the " + one(t, animals).one, "it", "its", "it", "animal"}
	case n < 5:
		return person{one(t, girls), "she", "her", "her", "girl"}
	}
	return person{one(t, boys), "he", "his", "him", "boy"}
}

// one chooses an element of a list at random; some chooses several different ones.
func one[T any](t *teller, from []T) T { return from[t.IntN(len(from))] }

func some[T any](t *teller, from []T, n int) []T {
	var out []T
	for _, i := range t.Perm(len(from))[:n] {
		out = append(out, from[i])
	}
	return out
}

// pair is two of the people, in any order.
func (t *teller) pair() (person, person) {
	p := t.Perm(len(t.people))
	return t.people[p[0]], t.people[p[1]]
}

// opening introduces the first person and the second.
func (t *teller) opening() string {
	p, q := t.people[0], t.people[1]
	who, home := p.name, one(t, places)
	if p.kind != "animal" {
		f := factOf(p.name)
		who, home = a(f.trait)+" "+p.kind+" named "+p.name, f.home
	}
	s := one(t, []string{
		fmt.Sprintf("%s, %s went to %s.", one(t, times), who, one(t, places)),
		fmt.Sprintf("Once upon a time there was %s. %s lived in %s.", who, capital(p.he), home),
	})
	return s + one(t, []string{
		fmt.Sprintf(" %s best friend was %s.", capital(p.his), q.name),
		fmt.Sprintf(" %s was there too, and %s was glad to see %s.", capital(q.name), p.name, q.him),
		fmt.Sprintf(" %s was waiting for %s.", capital(p.he), q.name),
	})
}

// hide puts the first n items where they are.
func (t *teller) hide(n int) string {
	var s strings.Builder
	for i := range n {
		p, q := t.people[t.owner[i]], t.people[1-t.owner[i]]
		x := t.items[i]
		s.WriteString(one(t, []string{
			fmt.Sprintf(" %s had %s. %s put the %s %s.", capital(p.name), a(x.String()), capital(p.he), x.thing, t.at[i]),
			fmt.Sprintf(" %s gave %s %s, and %s hid it %s.", capital(q.name), p.name, a(x.String()), p.he, t.at[i]),
			fmt.Sprintf(" %s left %s %s %s.", capital(p.name), p.his, x, t.at[i]),
		}))
	}
	return s.String()
}

// move takes one of the n items elsewhere.
func (t *teller) move(n int) string {
	i, p := t.IntN(n), one(t, t.people[:])
	from := t.at[i]
	for taken := true; taken; {
		t.at[i] = one(t, spots)
		taken = t.at[i] == from
		for j := range n {
			taken = taken || j != i && t.at[j] == t.at[i]
		}
	}
	return one(t, []string{
		fmt.Sprintf(" Then %s took the %s that was %s and put it %s.", p.name, t.items[i].thing, from, t.at[i]),
		fmt.Sprintf(" %s saw the %s %s. %s put it %s.", capital(p.name), t.items[i], from, capital(p.he), t.at[i]),
	})
}

// find asks for the first n items, in any order.
func (t *teller) find(n int) string {
	var s strings.Builder
	for _, i := range t.Perm(n) {
		p, q := t.people[t.owner[i]], t.people[1-t.owner[i]]
		x := t.items[i]
		s.WriteString(one(t, []string{
			fmt.Sprintf(" \"Where is my %s?\" asked %s. %s looked %s, and there was the %s.", x.thing, p.name, capital(p.he), t.at[i], x),
			fmt.Sprintf(" %s wanted to see the %s. So %s looked %s and gave the %s to %s.", capital(q.name), x.thing, p.name, t.at[i], x, q.him),
			fmt.Sprintf(" In the evening the %s was still %s.", x.thing, t.at[i]),
		}))
	}
	return s.String()
}

// ending closes a story.
func (t *teller) ending() string {
	p, q := t.people[0], t.people[1]
	s := []string{
		fmt.Sprintf(" At last %s went home and told %s mother about %s.", p.name, p.his, q.name),
		fmt.Sprintf(" %s thanked %s, and %s smiled.", capital(p.name), q.name, q.he),
		" They were friends from that day on.",
	}
	if p.kind != "animal" {
		s = append(s, fmt.Sprintf(" That night %s slept well, for %s was %s.", p.name, p.he, factOf(p.name).trait))
	}
	return one(t, s)
}

// story is the whole of it: things are hidden, other things happen, they are found.
func story(seed uint64) string {
	t := newTeller(seed)
	n := 1 + t.IntN(len(t.items))
	parts := []string{t.opening(), t.hide(n)}
	for range 1 + t.IntN(4) {
		if t.IntN(4) == 0 {
			parts = append(parts, t.move(n))
			continue
		}
		parts = append(parts, one(t, scenes)(t))
	}
	parts = append(parts, t.find(n))
	if t.IntN(4) > 0 {
		parts = append(parts, t.ending())
	}
	return strings.Join(parts, "")
}
