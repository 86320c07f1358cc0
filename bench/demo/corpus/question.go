package main

import (
	"fmt"
	"math/rand/v2"
)

// question is a text with several continuations, one of which is right.
type question struct {
	Kind    string   `json:"kind"` // agreement, memory or arithmetic
	Query   string   `json:"query"`
	Choices []string `json:"choices"`
	Gold    int      `json:"gold"` // index of the right one
}

// ask makes the question of a seed; the kinds take turns.
func ask(seed uint64) question {
	t := newTeller(seed)
	q := question{Kind: [...]string{"agreement", "memory", "arithmetic"}[seed%3]}
	p, x := t.people[0], t.items[0]
	t.owner = [3]int{0, 0, 1}
	switch q.Kind {
	case "agreement":
		q.Query = fmt.Sprintf("%s %s had %s.", t.opening(), capital(p.name), a(x.String()))
		others := []string{"he", "she", "it"}
		for i, he := range others {
			if he == p.he {
				others[0], others[i] = he, others[0]
			}
		}
		for _, he := range others {
			q.Choices = append(q.Choices, fmt.Sprintf(" %s put the %s %s.", capital(he), x.thing, t.at[0]))
		}
	case "memory":
		q.Query = t.opening() + t.hide(2) + one(t, scenes)(t) + fmt.Sprintf(" In the evening the %s was still", x.thing)
		q.Choices = []string{" " + t.at[0] + ".", " " + t.at[1] + "."}
		for _, s := range some(t, spots, len(spots)) {
			if len(q.Choices) < 4 && s != t.at[0] && s != t.at[1] {
				q.Choices = append(q.Choices, " "+s+".")
			}
		}
	default:
		food, n := one(t, foods), 3+t.IntN(8)
		k := 1 + t.IntN(min(n-2, 5))
		q.Query = fmt.Sprintf("%s %s had %s. %s ate %s of them. Now %s had", t.opening(), capital(p.name), food.count(n), capital(p.he), numbers[k], p.he)
		q.Choices = []string{" " + food.count(n-k) + "."}
		for _, m := range t.Perm(12) {
			if m+1 != n-k && len(q.Choices) < 4 {
				q.Choices = append(q.Choices, " "+food.count(m+1)+".")
			}
		}
	}
	return q.shuffled(t.Rand)
}

// shuffled brings the choices into another order; the first one was right.
func (q question) shuffled(r *rand.Rand) question {
	choices := make([]string, len(q.Choices))
	for to, from := range r.Perm(len(choices)) {
		if choices[to] = q.Choices[from]; from == 0 {
			q.Gold = to
		}
	}
	q.Choices = choices
	return q
}
