package files

import "strings"

// IsPlainName reports whether a name is that of a file in the same directory, on
// every system: it has no separator, no drive and no NUL, and is not . or ...
func IsPlainName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\:\x00")
}
