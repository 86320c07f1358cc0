// Package files reads files that anybody may have made: regular files only, of a
// bounded size, read or mapped. A mapped file that shrinks, or whose disk fails,
// while it is in use gives an error that names it instead of ending the process.
package files
