package main

import (
	"strings"
	"unicode"
)

// person is who a story tells of, with the words that agree.
type person struct{ name, he, his, him, kind string }

// item is a thing of a story.
type item struct{ colour, thing string }

func (i item) String() string { return i.colour + " " + i.thing }

// noun has its plural.
type noun struct{ one, many string }

// count is a number of things in words.
func (n noun) count(k int) string {
	if k == 1 {
		return "one " + n.one
	}
	return numbers[k] + " " + n.many
}

// fact is what is always true of one name: a model has to know it by heart.
type fact struct {
	trait, home string
	food        noun
	colour      string
}

// creature is an animal with its own sound and meal.
type creature struct{ one, many, sound, meal string }

var (
	girls   = strings.Fields("Anna Lily Mia Rose Emma Sara Nora Ella Ruth Clara Ivy June")
	boys    = strings.Fields("Tom Ben Max Sam Leo Jack Finn Hugo Paul Adam Noah Carl")
	traits  = strings.Fields("kind brave shy clever small old quiet funny gentle proud curious")
	places  = []string{"the barn", "the kitchen", "the garden", "the shed", "the attic", "the school", "the boat", "the tower", "the cellar", "the meadow"}
	spots   = []string{"under the bed", "behind the door", "in the blue box", "on the shelf", "in the basket", "under the old tree", "beside the well", "inside the drawer", "on top of the wall", "in the hollow log"}
	things  = strings.Fields("key ball hat lamp drum kite ring book spoon bell coin scarf")
	colours = strings.Fields("red green yellow white black brown silver golden pink grey")
	foods   = []noun{{"apple", "apples"}, {"cake", "cakes"}, {"plum", "plums"}, {"cherry", "cherries"}, {"nut", "nuts"}, {"egg", "eggs"}, {"pear", "pears"}, {"cookie", "cookies"}, {"berry", "berries"}, {"carrot", "carrots"}}
	times   = []string{"One day", "One morning", "Early in the spring", "On a cold evening", "After lunch", "Last summer", "On a windy day", "When the sun was high"}
	numbers = strings.Fields("no one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty")
	ranks   = strings.Fields("first second third fourth")

	animals = []creature{
		{"dog", "dogs", "woof", "bones"}, {"cat", "cats", "meow", "fish"}, {"fox", "foxes", "yip", "eggs"}, {"bear", "bears", "grr", "honey"},
		{"hen", "hens", "cluck", "corn"}, {"duck", "ducks", "quack", "bread"}, {"goat", "goats", "maa", "grass"}, {"mouse", "mice", "squeak", "cheese"},
		{"owl", "owls", "hoo", "moths"}, {"frog", "frogs", "croak", "flies"}, {"pony", "ponies", "neigh", "apples"}, {"rabbit", "rabbits", "sniff", "carrots"},
	}

	// What somebody does who feels so, and why.
	feelings = []struct{ feeling, did, because string }{
		{"sad", "cried", "the cake was lost"}, {"happy", "laughed", "the sun was warm"}, {"angry", "stamped", "the door was shut"},
		{"tired", "yawned", "the way was long"}, {"afraid", "hid", "the sky was dark"}, {"proud", "sang", "the work was done"},
	}
	// What one takes along in a weather.
	weathers = []struct{ weather, take string }{
		{"the rain fell", "the big boots"}, {"the wind blew", "the warm coat"}, {"the sun was hot", "the straw hat"},
		{"snow lay on the ground", "the old sled"}, {"the sky was dark", "the little lamp"}, {"the birds sang", "the tin flute"},
	}
)

// factOf is the fact of a child's name.
func factOf(name string) fact {
	n := 0
	for i, x := range append(girls[:len(girls):len(girls)], boys...) {
		if x == name {
			n = i
		}
	}
	return fact{traits[(5*n+n/7)%len(traits)], places[(7*n+n/5+3)%len(places)], foods[(3*n+n/4)%len(foods)], colours[(9*n+n/3+1)%len(colours)]}
}

// capital is the text with its first letter a capital.
func capital(s string) string {
	return string(unicode.ToUpper(rune(s[0]))) + s[1:]
}

// a is the word with the article that agrees.
func a(word string) string {
	if strings.ContainsRune("aeiou", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
}

// list joins words as in "x, y and z".
func list(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
