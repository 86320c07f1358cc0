package compare

import (
	"os"
	"strings"
)

// SplitNames separates the names of models that have commas between them. A path may have
// commas too: the longest part of the list that exists as it stands is one name, and a
// backslash in front of a comma makes it a part of a name.
func SplitNames(list string) []string {
	const escaped = "\x00"
	fields := strings.Split(strings.ReplaceAll(list, `\,`, escaped), ",")
	var names []string
	for i := 0; i < len(fields); {
		n := 1
		for end := len(fields); end > i+1; end-- {
			if _, err := os.Stat(strings.ReplaceAll(strings.Join(fields[i:end], ","), escaped, ",")); err == nil {
				n = end - i
				break
			}
		}
		names = append(names, strings.ReplaceAll(strings.Join(fields[i:i+n], ","), escaped, ","))
		i += n
	}
	return names
}
