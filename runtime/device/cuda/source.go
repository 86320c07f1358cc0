package cuda

import "strings"

// source is a kernel's PTX. A kernel is a module of its own: the driver compiles those that
// are used, not all of their files, which would take seconds.
type source struct {
	file  string // its name
	head  string // of the file: version, target, shared memory
	entry string
}

// sources are the kernels of a file, by name. They share nothing but its head.
func sources(file, text string) map[string]source {
	const entry = ".visible .entry "
	parts := strings.Split(text, entry)
	all := map[string]source{}
	for _, part := range parts[1:] {
		name, _, _ := strings.Cut(part, "(")
		all[name] = source{file, parts[0], entry + part}
	}
	return all
}
