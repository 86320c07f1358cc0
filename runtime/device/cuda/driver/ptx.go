package driver

import "strings"

// Source is the PTX of one kernel. Each kernel is a module, so that the driver compiles only
// the kernels that are used; whole files would take seconds.
type Source struct {
	file  string // its name
	head  string // of the file: version, target, shared memory
	entry string
}

// Sources splits a PTX file into its kernels, by name. They share nothing but its head.
func Sources(file, text string) map[string]Source {
	const entry = ".visible .entry "
	parts := strings.Split(text, entry)
	all := map[string]Source{}
	for _, part := range parts[1:] {
		name, _, _ := strings.Cut(part, "(")
		all[name] = Source{file, parts[0], entry + part}
	}
	return all
}
