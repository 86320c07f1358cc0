// Package choices has what tables of named choices share, such as those of the pruning
// methods, the criteria and the scores.
package choices

import (
	"fmt"
	"slices"
	"strings"
)

// Choice is a row of a table.
type Choice interface {
	Name() string    // value of a flag
	Summary() string // one phrase for the help text
}

// Names lists the names.
func Names[T Choice](all []T) []string {
	var names []string
	for _, x := range all {
		names = append(names, x.Name())
	}
	return names
}

// Help describes every choice in one line.
func Help[T Choice](all []T) string {
	var parts []string
	for _, x := range all {
		parts = append(parts, x.Name()+" ("+x.Summary()+")")
	}
	return strings.Join(parts, ", ")
}

// ByName finds a choice. what is chosen begins the error.
func ByName[T Choice](what string, all []T, name string) (T, error) {
	i := slices.IndexFunc(all, func(x T) bool { return x.Name() == name })
	if i < 0 {
		var none T
		return none, fmt.Errorf("%s: want one of %s, got %q", what, strings.Join(Names(all), ", "), name)
	}
	return all[i], nil
}
