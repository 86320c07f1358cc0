// Package build says which sources this program was built from.
package build

import "runtime/debug"

// commit is set by the linker where the Go command cannot find out by itself, for
// example in a linked git worktree: -ldflags "-X mop/internal/build.commit=...".
var commit string

// Commit is the git revision that this program was built from, followed by "-dirty" if
// the working tree had changes. It is "unknown" if the build recorded none.
func Commit() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, dirty := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && s.Value != "":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	return revision + dirty
}
