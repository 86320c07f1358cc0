// Package files reads files from untrusted sources: only regular files of a bounded
// size, read or mapped. A mapped file that is truncated, or whose disk fails, while it
// is in use causes an error that names it instead of ending the process.
package files
